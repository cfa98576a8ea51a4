"""Cross-entropy of a linear head that never holds all logits at once.

With a vocabulary of 150,000 the logits of 4,000 positions take 2.4 GB in float32, and the usual way keeps three such
tensors. Here positions are worked through in blocks, and the gradient is made while a block's logits are at hand, so
that nothing is computed twice (the way of Liger Kernel, arXiv 2410.10989, in plain torch). Beside its arguments, the
head in the type of the products and the gradients, it takes at most `BLOCK_BYTES` (on a GPU `GPU_BLOCK_BYTES`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

BLOCK_BYTES = 128 << 20  # smaller blocks add the gradient of the head too often
GPU_BLOCK_BYTES = 512 << 20  # there each addition of that gradient costs more than the products (an estimate)
ROWS = 256  # positions whose products a CPU makes at once: it is quickest so
WORDS = 4096  # rows of the head whose gradient in half precision a CPU makes at once, for the sake of its caches
CACHE_BYTES = 2 << 20  # scores whose softmax a CPU works through at once, so that they need not come from memory
EXACT = 4  # bytes of a float32 number


@dataclass(frozen=True)
class Blocks:
    """How much is worked through at once.

    Attributes:
        rows: positions whose logits are held, in the type of the products.
        piece: positions whose scores and shares are held, in float32.
        words: rows of the head whose gradient is made at once, where the products are in half precision.
    """

    rows: int
    piece: int
    words: int

    @classmethod
    def of(cls, hidden: Tensor, words: int) -> Blocks:
        """Return the blocks for hidden states [N, H] and a vocabulary that keep to the limit of their device."""
        cpu, size, width = hidden.device.type == "cpu", hidden.element_size(), hidden.shape[1]
        most = BLOCK_BYTES if cpu else GPU_BLOCK_BYTES
        piece = max(1, (CACHE_BYTES if cpu else most // 16) // (EXACT * words))
        word = width * (size + EXACT if cpu else size)  # bytes of its part of the product, which a CPU makes exact too
        part = max(1, min(most // 8 // word, WORDS if cpu else words))
        taken = 2 * piece * EXACT * words + (0 if size == EXACT else part * word)
        few = 64 * len(hidden) + 2 * EXACT * words  # some numbers a position, and two a word
        return cls(max(1, (most - taken - few) // (size * words)), piece, part)


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
        block: positions worked through at once; as many as the limit allows when None.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):  # the last norm gives float32
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    blocks = Blocks.of(hidden, len(weight))
    if block is not None:
        blocks = Blocks(block, blocks.piece, blocks.words)
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, bias, targets, counts, blocks, wanted)
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
        blocks: Blocks,
        wanted: bool,
    ) -> Tensor:
        ctx.types = weight.dtype, None if bias is None else bias.dtype
        needed = [wanted and need for need in ctx.needs_input_grad[:3]]
        with torch.autocast(hidden.device.type, enabled=False):
            loss, *gradients = loss_and_gradients(hidden, weight, bias, targets, counts, blocks, needed)
        ctx.save_for_backward(*gradients)
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


def loss_and_gradients(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    counts: Tensor | None,
    blocks: Blocks,
    needed: Sequence[bool],
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return the summed cross-entropy and its gradients.

    Args:
        hidden: [N, H] hidden states, in the type in which products are made.
        weight: [V, H] of the head.
        bias: [V] or None.
        targets: [N] token ids.
        counts: [N] how much each position counts; all alike when None.
        blocks: how much is worked through at once.
        needed: whether the gradients of hidden states, weight and bias are wanted.

    Returns:
        The loss; the gradients of `hidden`, `weight` and `bias`, or None.
    """
    head = weight.to(hidden.dtype)
    shift = None if bias is None else bias.float()
    of_hidden = torch.empty_like(hidden) if needed[0] else None
    # Sums over blocks are kept in float32, whatever the products are made in.
    of_weight = torch.zeros(weight.shape, device=weight.device) if needed[1] else None
    of_bias = torch.zeros(bias.shape, device=bias.device) if bias is not None and needed[2] else None
    loss = torch.zeros((), device=hidden.device)
    step = ROWS if hidden.device.type == "cpu" else blocks.rows
    block = blocks.rows if needed[1] else min(blocks.rows, step)  # the gradient of the head alone wants many at once
    buffer = torch.empty(min(block, len(hidden)), len(head), dtype=hidden.dtype, device=hidden.device)
    for start in range(0, len(hidden), block):
        rows = hidden[start : start + block]
        for i in range(0, len(rows), step):
            chosen, part = slice(start + i, start + min(i + step, len(rows))), buffer[i : i + step]
            part = torch.mm(hidden[chosen], head.t(), out=part[: chosen.stop - chosen.start])
            much = None if counts is None else counts[chosen, None]
            loss += _to_errors(part, shift, targets[chosen, None], much, blocks.piece, any(needed), of_bias)
            if of_hidden is not None:
                torch.mm(part, head, out=of_hidden[chosen])
        if of_weight is not None:
            _add_product(of_weight, buffer[: len(rows)], rows, blocks.words)
    return loss, of_hidden, of_weight, of_bias


def _add_product(total: Tensor, errors: Tensor, rows: Tensor, words: int) -> None:
    """Add errors.T @ rows to a total [V, H] in float32, whatever the type of errors [N, V] and rows [N, H].

    In half precision the product has to be made apart, for so many words at once.
    """
    if errors.dtype == torch.float32:
        total.addmm_(errors.t(), rows)
        return
    product = torch.empty((min(words, len(total)), rows.shape[1]), dtype=rows.dtype, device=rows.device)
    exact = torch.empty_like(product, dtype=torch.float32) if total.device.type == "cpu" else None  # quicker there
    for i in range(0, len(total), words):
        part = total[i : i + words]
        of_part = torch.mm(errors[:, i : i + words].t(), rows, out=product[: len(part)])
        part += of_part if exact is None else exact[: len(part)].copy_(of_part)


def _to_errors(
    logits: Tensor,
    shift: Tensor | None,
    right: Tensor,
    much: Tensor | None,
    piece: int,
    wanted: bool,
    of_bias: Tensor | None,
) -> Tensor:
    """Return the summed cross-entropy of logits [N, V], and turn these into its gradient.

    Args:
        logits: overwritten where the gradient is wanted.
        shift: [V] added to them.
        right: [N, 1] token ids.
        much: [N, 1] how much each position counts.
        piece: positions worked through at once.
        wanted: whether there is to be a gradient.
        of_bias: [V] what the gradient of `shift` is added to.
    """
    loss = torch.zeros((), device=logits.device)
    for i in range(0, len(logits), piece):
        some, token = logits[i : i + piece], right[i : i + piece]
        scores = some.float()
        if shift is not None:
            scores = scores + shift if scores is some else scores.add_(shift)
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
        del scores, shares  # else those of two pieces are held
    return loss
