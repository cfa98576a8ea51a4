"""Cross-entropy of a linear head, without all logits in memory at once.

With a vocabulary of 150,000 the logits of 4,000 positions take 2.4 GB in float32, and the usual implementation keeps
three such tensors. This module processes the positions in blocks and computes the gradient together with the logits of
a block, so that nothing is computed twice (the method of Liger Kernel, arXiv 2410.10989, in plain torch). In addition
to the arguments, a copy of the head in the dtype of the products, and the gradients, the function needs at most
`BLOCK_BYTES` of memory (`GPU_BLOCK_BYTES` on a GPU).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

BLOCK_BYTES = 128 << 20  # with smaller blocks the head's gradient is added too often
GPU_BLOCK_BYTES = 512 << 20  # on a GPU each such addition costs more than the products (an estimate)
ROWS = 256  # positions per matrix product on a CPU; the fastest number
WORDS = 4096  # rows of the head per gradient product in half precision on a CPU; fits its caches
CACHE_BYTES = 2 << 20  # bytes of scores per softmax on a CPU; fits its cache
EXACT = 4  # bytes of a float32 number


@dataclass(frozen=True)
class Blocks:
    """Sizes of the blocks that the loss processes at once.

    Attributes:
        rows: positions whose logits are in memory, in the dtype of the products.
        piece: positions whose scores and probabilities are in memory, in float32.
        words: rows of the head per gradient product, when the products are in half precision.
    """

    rows: int
    piece: int
    words: int

    @classmethod
    def of(cls, hidden: Tensor, words: int) -> Blocks:
        """Return the largest blocks for hidden states [N, H] and a vocabulary size that fit the device's limit."""
        cpu, size, width = hidden.device.type == "cpu", hidden.element_size(), hidden.shape[1]
        most = BLOCK_BYTES if cpu else GPU_BLOCK_BYTES
        piece = max(1, (CACHE_BYTES if cpu else most // 16) // (EXACT * words))
        word = width * (size + EXACT if cpu else size)  # bytes of a head row's product; a CPU also needs a float32 copy
        part = max(1, min(most // 8 // word, WORDS if cpu else words))
        taken = 2 * piece * EXACT * words + (0 if size == EXACT else part * word)
        few = 64 * len(hidden) + 2 * EXACT * words  # 64 bytes a position, and two numbers a vocabulary entry
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
        weight: [V, H] of the head; cast to the dtype of `hidden`.
        bias: [V] or None.
        targets: [N] token ids.
        counts: [N] weight of each position; None: all 1.
        block: positions per block; None: as many as the memory limit allows.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):  # the LLM's last norm returns float32
        hidden = hidden.to(torch.get_autocast_dtype(kind))
    blocks = Blocks.of(hidden, len(weight))
    if block is not None:
        blocks = Blocks(block, blocks.piece, blocks.words)
    needs_gradient = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, bias, targets, counts, blocks, needs_gradient)
    return loss


def head_of(head: nn.Module | None) -> tuple[Tensor, Tensor | None] | None:
    """Return weight and bias of an output layer that is a plain linear layer; else None."""
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
        needs_gradient: bool,
    ) -> Tensor:
        ctx.types = weight.dtype, None if bias is None else bias.dtype
        needed = [needs_gradient and need for need in ctx.needs_input_grad[:3]]
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
            None if of_hidden is None else of_hidden * scale,  # `scale` is a scalar, so the dtype stays
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
        hidden: [N, H] hidden states, in the dtype of the products.
        weight: [V, H] of the head.
        bias: [V] or None.
        targets: [N] token ids.
        counts: [N] weight of each position; None: all 1.
        blocks: sizes of the blocks.
        needed: whether to compute the gradients of hidden states, weight and bias.

    Returns:
        The loss; the gradients of `hidden`, `weight` and `bias`, or None.
    """
    head = weight.to(hidden.dtype)
    shift = None if bias is None else bias.float()
    of_hidden = torch.empty_like(hidden) if needed[0] else None
    # Sums over blocks are in float32, whatever the dtype of the products.
    of_weight = torch.zeros(weight.shape, device=weight.device) if needed[1] else None
    of_bias = torch.zeros(bias.shape, device=bias.device) if bias is not None and needed[2] else None
    loss = torch.zeros((), device=hidden.device)
    step = ROWS if hidden.device.type == "cpu" else blocks.rows
    block = blocks.rows if needed[1] else min(blocks.rows, step)  # only the head's gradient gains from large blocks
    buffer = torch.empty(min(block, len(hidden)), len(head), dtype=hidden.dtype, device=hidden.device)
    for start in range(0, len(hidden), block):
        rows = hidden[start : start + block]
        for i in range(0, len(rows), step):
            span, part = slice(start + i, start + min(i + step, len(rows))), buffer[i : i + step]
            part = torch.mm(hidden[span], head.t(), out=part[: span.stop - span.start])
            factors = None if counts is None else counts[span, None]
            loss += _to_errors(part, shift, targets[span, None], factors, blocks.piece, any(needed), of_bias)
            if of_hidden is not None:
                torch.mm(part, head, out=of_hidden[span])
        if of_weight is not None:
            _add_product(of_weight, buffer[: len(rows)], rows, blocks.words)
    return loss, of_hidden, of_weight, of_bias


def _add_product(total: Tensor, errors: Tensor, rows: Tensor, words: int) -> None:
    """Add errors.T @ rows to a float32 total [V, H], whatever the dtype of errors [N, V] and rows [N, H].

    In half precision the product needs its own buffer, for `words` rows of the head at once.
    """
    if errors.dtype == torch.float32:
        total.addmm_(errors.t(), rows)
        return
    product = torch.empty((min(words, len(total)), rows.shape[1]), dtype=rows.dtype, device=rows.device)
    exact = torch.empty_like(product, dtype=torch.float32) if total.device.type == "cpu" else None  # faster on a CPU
    for i in range(0, len(total), words):
        part = total[i : i + words]
        of_part = torch.mm(errors[:, i : i + words].t(), rows, out=product[: len(part)])
        part += of_part if exact is None else exact[: len(part)].copy_(of_part)


def _to_errors(
    logits: Tensor,
    shift: Tensor | None,
    right: Tensor,
    factors: Tensor | None,
    piece: int,
    needs_gradient: bool,
    of_bias: Tensor | None,
) -> Tensor:
    """Return the summed cross-entropy of logits [N, V], and overwrite the logits with the gradient.

    Args:
        logits: overwritten if `needs_gradient`.
        shift: [V] bias that is added to the logits.
        right: [N, 1] ids of the correct tokens.
        factors: [N, 1] weight of each position; None: all 1.
        piece: positions processed at once.
        needs_gradient: whether to compute the gradient.
        of_bias: [V] to which the gradient of `shift` is added.
    """
    loss = torch.zeros((), device=logits.device)
    for i in range(0, len(logits), piece):
        some, token = logits[i : i + piece], right[i : i + piece]
        scores = some.float()
        if shift is not None:
            scores = scores + shift if scores is some else scores.add_(shift)
        # One exponential per logit: the largest score minus the log of its probability is the log of the sum. The
        # largest probability never underflows.
        probabilities = torch.softmax(scores, 1)
        losses = scores.amax(1, keepdim=True) - probabilities.amax(1, keepdim=True).log() - scores.gather(1, token)
        loss += (losses if factors is None else losses * factors[i : i + piece]).sum()
        if needs_gradient:
            probabilities.scatter_add_(1, token, torch.full_like(token, -1, dtype=probabilities.dtype))
            if factors is not None:
                probabilities *= factors[i : i + piece]
            if of_bias is not None:
                of_bias += probabilities.sum(0)
            some.copy_(probabilities)
        del scores, probabilities  # otherwise the tensors of two pieces are in memory
    return loss
