"""Cross-entropy of a linear head that never holds all logits at once.

With a vocabulary of 150,000 the logits of 4,000 positions take 2.4 GB in float32, and the usual way keeps three such
tensors. Here positions are worked through in blocks, and the gradient is made while a block's logits are at hand, so
that nothing is computed twice (the way of Liger Kernel, arXiv 2410.10989, in plain torch).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BLOCK_BYTES = 128 << 20  # logits held at once; smaller blocks add the gradient of the head too often
CACHE_BYTES = 2 << 20  # logits whose softmax a CPU works through at once, so that they need not come from memory


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    counts: Tensor | None = None,
    *,
    block: int | None = None,
) -> Tensor:
    """Return the summed cross-entropy of `hidden @ weight.T + bias`.

    Args:
        hidden: [N, H] hidden states.
        weight: [V, H] of the head; in another type than `hidden` it is cast.
        bias: [V] or None.
        targets: [N] token ids.
        counts: [N] how much each position counts; all alike when None.
        block: positions worked through at once; by default as many as keep a block below `BLOCK_BYTES`.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):  # the last norm gives float32
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    block = block or max(64, BLOCK_BYTES // (hidden.element_size() * len(weight)))
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, bias, targets, counts, block, wanted)
    return loss


def head_of(head: nn.Module | None) -> tuple[Tensor, Tensor | None] | None:
    """Return weight and bias of an output layer that is a linear map and nothing else, or None."""
    if type(head) is not nn.Linear or head._forward_hooks or head._forward_pre_hooks:
        return None
    return head.weight, head.bias


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        counts: Tensor | None,
        block: int,
        wanted: bool,
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            ctx.types = weight.dtype, None if bias is None else bias.dtype
            needed = [wanted and need for need in ctx.needs_input_grad[:3]]
            head = weight.to(hidden.dtype)
            shift = None if bias is None else bias.float()
            of_hidden = torch.empty_like(hidden) if needed[0] else None
            # Sums over blocks are kept in float32, whatever the products are made in.
            of_weight = torch.zeros(weight.shape, device=weight.device) if needed[1] else None
            of_bias = torch.zeros(bias.shape, device=bias.device) if bias is not None and needed[2] else None
            loss = torch.zeros((), device=hidden.device)
            piece = max(1, CACHE_BYTES // (4 * len(weight))) if hidden.device.type == "cpu" else block
            for start in range(0, len(hidden), block):
                rows = hidden[start : start + block]
                logits = rows @ head.t()
                for i in range(0, len(rows), piece):  # each piece of the logits becomes the error of these logits
                    some, chosen = logits[i : i + piece], slice(start + i, min(start + i + piece, start + len(rows)))
                    right = targets[chosen, None]
                    much = None if counts is None else counts[chosen, None]
                    likely = torch.log_softmax(some if shift is None else some + shift, 1, dtype=torch.float32)
                    of_right = likely.gather(1, right)
                    loss -= (of_right if much is None else of_right * much).sum()
                    if not any(needed):
                        continue
                    error = likely.exp_()
                    error.scatter_add_(1, right, torch.full_like(right, -1, dtype=error.dtype))
                    if much is not None:
                        error *= much
                    if of_bias is not None:
                        of_bias += error.sum(0)
                    some.copy_(error)
                if of_hidden is not None:
                    torch.mm(logits, head, out=of_hidden[start : start + block])
                if of_weight is not None:
                    if logits.dtype == torch.float32:
                        of_weight.addmm_(logits.t(), rows)
                    else:
                        of_weight += logits.t() @ rows
        ctx.save_for_backward(of_hidden, of_weight, of_bias)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight, of_bias = ctx.saved_tensors
        kind, kind_of_bias = ctx.types
        return (
            None if of_hidden is None else of_hidden * scale.to(of_hidden.dtype),
            None if of_weight is None else of_weight.mul_(scale).to(kind),
            None if of_bias is None else of_bias.mul_(scale).to(kind_of_bias),
            None,
            None,
            None,
            None,
        )
