"""Logits processing: the penalties on repetition, the same in the decoding loop and in transformers' `generate`.

The definitions and the order are those of transformers, with one difference: only the tokens of the answer count. The
prompt and the soft tokens never do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import LogitsProcessor

from vectalk.decoding.settings import Decoding


class AnswerInProgress(Protocol):
    """A row of the batch: its tokens so far, and its settings."""

    ids: list[int]
    decoding: Decoding


def process(logits: Tensor, rows: Sequence[AnswerInProgress]) -> Tensor:
    """Return the logits [B, V] from which the next tokens of the rows are chosen; each row has its own settings."""
    places = [place for place, row in enumerate(rows) if row.decoding.penalizes]
    if not places:
        return logits
    ids = _aligned([rows[place].ids for place in places], logits)
    processed = logits.clone()
    processed[places] = penalize(logits[places], ids, [rows[place].decoding for place in places])
    return processed


def penalize(logits: Tensor, ids: Tensor, settings: Sequence[Decoding]) -> Tensor:
    """Apply the repetition penalty, then ban the tokens that would repeat an n-gram.

    Args:
        logits: [B, V].
        ids: [B, L] tokens of the answers so far; shorter answers have V before their first token.
        settings: the decoding settings of each row.

    Returns:
        [B, V] new logits.
    """
    spare = logits.new_zeros((len(logits), logits.shape[-1] + 1), dtype=torch.bool)  # the last column is the padding
    ids = ids.clamp(max=logits.shape[-1])  # an LLM may read more tokens than it writes
    present = spare.scatter(1, ids, True)[:, :-1]
    penalties = logits.new_tensor([one.repetition_penalty or 1.0 for one in settings])[:, None]
    logits = torch.where(present, torch.where(logits < 0, logits * penalties, logits / penalties), logits)
    sizes = [one.no_repeat_ngram_size or 0 for one in settings]
    for size in sorted(set(sizes) - {0}):
        if size <= ids.shape[1]:
            rows = [row for row, own in enumerate(sizes) if own == size]
            banned = spare[rows].scatter(1, _completions(ids[rows], size, logits.shape[-1]), True)[:, :-1]
            logits[rows] = logits[rows].masked_fill(banned, -torch.inf)
    return logits


def _completions(ids: Tensor, size: int, padding: int) -> Tensor:
    """Return the tokens [B, N] that would complete an n-gram of the ids again; `padding` where there is none."""
    windows = ids.unfold(1, size, 1)
    ending = ids[:, ids.shape[1] - size + 1 :]  # the beginning of the n-gram that the next token completes
    matches = (windows[..., :-1] == ending[:, None]).all(-1)
    return windows[..., -1].where(matches, padding)


def _aligned(ids: Sequence[Sequence[int]], logits: Tensor) -> Tensor:
    """Return lists of tokens as a tensor [B, L], padded with V at the beginning."""
    longest, padding = max(map(len, ids)), logits.shape[-1]
    rows = [[padding] * (longest - len(row)) + list(row) for row in ids]
    return torch.tensor(rows, dtype=torch.long, device=logits.device).view(len(ids), longest)


class AnswerPenalties(LogitsProcessor):
    """`penalize` for transformers' `generate`; prompts come as embeddings, so its ids are those of the answers alone.

    Args:
        decoding: the settings of all rows.
    """

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return the scores [B, V] of the next tokens after the penalties on the ids [B, L]."""
        return penalize(scores, input_ids, [self.decoding] * len(scores))
