"""Sampling: the next token of each row, by inverting its distribution function at the row's own random number."""

from __future__ import annotations

import torch
from torch import Tensor


def choose(logits: Tensor, temperatures: Tensor, top_ps: Tensor, draws: Tensor) -> Tensor:
    """Pick the next token of each row: the likeliest, or one by inverting the distribution function at its draw.

    Each row has its own random number, so that its text does not depend on the other rows of the batch.

    Args:
        logits: [B, V].
        temperatures: [B], 0 for the likeliest token.
        top_ps: [B], sample from the smallest set of likeliest tokens with this probability mass.
        draws: [B] in [0, 1).

    Returns:
        [B] token ids.
    """
    chances = (logits / temperatures.to(logits.dtype).clamp_min(1e-6)[:, None]).softmax(-1)
    tokens = _reached(chances, draws)
    narrow = ((top_ps < 1) & (temperatures > 0)).nonzero()[:, 0]
    if len(narrow):  # sorting is expensive
        ranked, order = chances[narrow].sort(dim=-1, descending=True, stable=True)
        before = ranked.cumsum(-1) - ranked  # the likeliest token always stays
        places = _reached(ranked.masked_fill(before >= top_ps[narrow, None], 0.0), draws[narrow])
        tokens[narrow] = order.gather(-1, places[:, None])[:, 0]
    return logits.argmax(-1).where(temperatures == 0, tokens)


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
