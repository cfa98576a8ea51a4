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
GPU_BLOCK_BYTES = 512 << 20  # there each addition of that gradient costs more than the products (an estimate)
ROWS = 256  # positions whose products a CPU makes at once: it is quickest so
WORDS = 4096  # rows of the head whose gradient in half precision a CPU makes at once, for the sake of its caches
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
        block: positions worked through at once; by default as many as keep a block below `BLOCK_BYTES` (or
            `GPU_BLOCK_BYTES`).
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):  # the last norm gives float32
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    block = block or block_of(hidden, len(weight))
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, bias, targets, counts, block, wanted)
    return loss


def block_of(hidden: Tensor, words: int) -> int:
    """Return how many positions are worked through at once, for hidden states [N, H] and a vocabulary."""
    most = BLOCK_BYTES if hidden.device.type == "cpu" else GPU_BLOCK_BYTES
    return max(64, most // (hidden.element_size() * words))


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
            step = ROWS if hidden.device.type == "cpu" else block
            block = block if needed[1] else min(block, step)  # the gradient of the head alone wants many rows at once
            buffer = torch.empty(min(block, len(hidden)), len(head), dtype=hidden.dtype, device=hidden.device)
            for start in range(0, len(hidden), block):
                rows = hidden[start : start + block]
                for i in range(0, len(rows), step):
                    chosen, part = slice(start + i, start + min(i + step, len(rows))), buffer[i : i + step]
                    part = torch.mm(hidden[chosen], head.t(), out=part[: chosen.stop - chosen.start])
                    much = None if counts is None else counts[chosen, None]
                    loss += _to_errors(part, shift, targets[chosen, None], much, any(needed), of_bias)
                    if of_hidden is not None:
                        torch.mm(part, head, out=of_hidden[chosen])
                if of_weight is not None:
                    _add_product(of_weight, buffer[: len(rows)], rows)
        ctx.save_for_backward(of_hidden, of_weight, of_bias)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight, of_bias = ctx.saved_tensors
        kind, kind_of_bias = ctx.types
        return (
            None if of_hidden is None else of_hidden * scale,  # a number: it keeps the type, and its own precision
            None if of_weight is None else of_weight.mul_(scale).to(kind),
            None if of_bias is None else of_bias.mul_(scale).to(kind_of_bias),
            None,
            None,
            None,
            None,
        )


def _add_product(total: Tensor, errors: Tensor, rows: Tensor) -> None:
    """Add errors.T @ rows to a total [V, H] in float32, whatever the type of errors [N, V] and rows [N, H]."""
    if errors.dtype == torch.float32:
        total.addmm_(errors.t(), rows)
        return
    if total.device.type != "cpu":
        total += errors.t() @ rows
        return
    product = torch.empty((WORDS, rows.shape[1]), dtype=rows.dtype, device=rows.device)
    exact = torch.empty_like(product, dtype=torch.float32)
    for i in range(0, len(total), WORDS):
        part = total[i : i + WORDS]
        torch.mm(errors[:, i : i + WORDS].t(), rows, out=product[: len(part)])
        part += exact[: len(part)].copy_(product[: len(part)])


def _to_errors(
    logits: Tensor, shift: Tensor | None, right: Tensor, much: Tensor | None, wanted: bool, of_bias: Tensor | None
) -> Tensor:
    """Return the summed cross-entropy of logits [N, V], and turn these into its gradient.

    Args:
        logits: overwritten where the gradient is wanted.
        shift: [V] added to them.
        right: [N, 1] token ids.
        much: [N, 1] how much each position counts.
        wanted: whether there is to be a gradient.
        of_bias: [V] what the gradient of `shift` is added to.
    """
    loss = torch.zeros((), device=logits.device)
    piece = max(1, CACHE_BYTES // (4 * logits.shape[1])) if logits.device.type == "cpu" else len(logits)
    for i in range(0, len(logits), piece):
        some, token = logits[i : i + piece], right[i : i + piece]
        scores = some.float() if shift is None else some.float() + shift
        # One exponential a logit: the likeliest token tells the sum, since its own share cannot vanish.
        shares = torch.softmax(scores, 1)
        losses = scores.amax(1, keepdim=True) - shares.amax(1, keepdim=True).log() - scores.gather(1, token)
        loss += (losses if much is None else losses * much[i : i + piece]).sum()
        if wanted:
            shares.scatter_add_(1, token, torch.full_like(token, -1, dtype=shares.dtype))
            if much is not None:
                shares *= much[i : i + piece]
            if of_bias is not None:
                of_bias += shares.sum(0)
            some.copy_(shares)
    return loss
