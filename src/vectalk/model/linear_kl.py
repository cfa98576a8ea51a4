"""KL divergence between the words that two hidden states of one LLM predict, which never holds all logits at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vectalk.model.linear_loss import BLOCK_BYTES, EXACT, GPU_BLOCK_BYTES


def linear_kl(
    hidden: Tensor, teacher: Tensor, weight: Tensor, bias: Tensor | None = None, *, block: int | None = None
) -> Tensor:
    """Return the summed KL(teacher || student) of the words that a linear head predicts.

    Logits are made for a block of positions at a time, and the gradient with them, as in `linear_cross_entropy`. The
    gradient goes to `hidden` alone: the head and the teacher are not trained.

    Args:
        hidden: [N, H] hidden states of the student.
        teacher: [N, H] hidden states of the teacher.
        weight: [V, H] of the head; in another type than `hidden` it is cast.
        bias: [V] or None.
        block: positions worked through at once; as many as the limit of `linear_loss` allows when None.
    """
    if torch.is_autocast_enabled(hidden.device.type):  # the last norm gives float32
        half = torch.get_autocast_dtype(hidden.device.type)
        hidden, teacher = hidden.to(half), teacher.to(half)
    if block is None:
        most = BLOCK_BYTES if hidden.device.type == "cpu" else GPU_BLOCK_BYTES
        block = max(1, most // (4 * EXACT * len(weight)))  # logits and log-probabilities of both
    loss: Tensor = _LinearKl.apply(hidden, teacher.detach(), weight.detach(), bias, block, torch.is_grad_enabled())
    return loss


class _LinearKl(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, teacher: Tensor, weight: Tensor, bias: Tensor | None, block: int, training: bool
    ) -> Tensor:
        learns = training and ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if learns else None
        loss = torch.zeros((), device=hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):
            head, teacher = weight.to(hidden.dtype), teacher.to(hidden.dtype)
            shift = None if bias is None else bias.detach().float()
            for start in range(0, len(hidden), block):
                rows = slice(start, start + block)
                student = _log_probabilities(hidden[rows], head, shift)
                right = _log_probabilities(teacher[rows], head, shift)
                shares = right.exp()
                loss += (shares * (right - student)).sum()
                if gradient is not None:
                    torch.mm((student.exp_() - shares).to(head.dtype), head, out=gradient[rows])
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return None if gradient is None else gradient * scale, None, None, None, None, None


def _log_probabilities(hidden: Tensor, head: Tensor, shift: Tensor | None) -> Tensor:
    """Return the log-probabilities [N, V] that a head gives, in float32."""
    logits = torch.mm(hidden, head.t()).float()
    return torch.log_softmax(logits if shift is None else logits + shift, 1)
