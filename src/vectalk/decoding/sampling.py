"""Sampling: the next token of each row, by inverting its distribution function at the row's own random number."""

from __future__ import annotations

import torch
from torch import Tensor


def choose(
    logits: Tensor,
    temperatures: Tensor,
    top_ps: Tensor,
    draws: Tensor,
    top_ks: Tensor | None = None,
    min_ps: Tensor | None = None,
) -> Tensor:
    """Pick the next token of each row: the likeliest, or one by inverting the distribution function at its draw.

    Each row has its own random number, so that its text does not depend on the other rows of the batch.

    Args:
        logits: [B, V].
        temperatures: [B], 0 for the likeliest token.
        top_ps: [B], sample from the smallest set of likeliest tokens with this probability mass.
        draws: [B] in [0, 1).
        top_ks: [B], sample from this number of likeliest tokens; 0 (as when omitted) for all.
        min_ps: [B], sample from tokens with at least this share of the probability of the likeliest token; 0 (as when
            omitted) for all.

    Returns:
        [B] token ids.
    """
    top_ks = torch.zeros_like(temperatures) if top_ks is None else top_ks
    min_ps = torch.zeros_like(temperatures) if min_ps is None else min_ps
    chances = (logits / temperatures.to(logits.dtype).clamp_min(1e-6)[:, None]).softmax(-1)
    tokens = _reached(chances, draws)
    narrow = (((top_ps < 1) | (top_ks > 0) | (min_ps > 0)) & (temperatures > 0)).nonzero()[:, 0]
    if len(narrow):  # sorting is expensive
        ranked, order = chances[narrow].sort(dim=-1, descending=True, stable=True)
        places = _reached(truncate(ranked, top_ks[narrow], top_ps[narrow], min_ps[narrow]), draws[narrow])
        tokens[narrow] = order.gather(-1, places[:, None])[:, 0]
    return logits.argmax(-1).where(temperatures == 0, tokens)


def truncate(ranked: Tensor, top_ks: Tensor, top_ps: Tensor, min_ps: Tensor) -> Tensor:
    """Set the probability of the tokens that are not sampled to 0, in the order of transformers: top_k, top_p, min_p.

    Args:
        ranked: [B, V] probabilities, the highest first.
        top_ks: [B] numbers of tokens; 0 for all. Tokens that are as likely as the last of them stay too.
        top_ps: [B] shares of the probability mass that `top_ks` left.
        min_ps: [B] shares of the highest probability.

    Returns:
        [B, V] the remaining probabilities; their sum may be below 1. The likeliest token always stays.
    """
    some = top_ks > 0
    if bool(some.any()):
        last = (top_ks.long().clamp(1, ranked.shape[-1]) - 1)[:, None]
        ranked = ranked.masked_fill((ranked < ranked.gather(1, last)) & some[:, None], 0.0)
        ranked = torch.where(some[:, None], ranked / ranked.sum(-1, keepdim=True), ranked)
    before = ranked.cumsum(-1) - ranked
    ranked = ranked.masked_fill((before >= top_ps[:, None]) & (top_ps < 1)[:, None], 0.0)
    return ranked.masked_fill(ranked < min_ps.to(ranked.dtype)[:, None] * ranked[:, :1], 0.0)


def precise(device: torch.device) -> torch.dtype:
    """Return the widest type of numbers that a device calculates with."""
    return torch.float32 if device.type == "mps" else torch.float64


def _reached(chances: Tensor, draws: Tensor) -> Tensor:
    """Return of each row of `chances` [B, V] the first token whose cumulative share is above its draw [B].

    Rounding may put a draw near 1 above all sums; the result is then the last token with a probability above zero.
    """
    mass = chances.cumsum(-1, dtype=precise(chances.device))
    possible = chances > 0
    above, first = ((mass > (draws.to(mass.dtype) * mass[:, -1])[:, None]) & possible).max(-1)
    columns = torch.arange(chances.shape[-1], device=chances.device)
    return first if bool(above.all()) else first.where(above, (columns * possible).amax(-1))
