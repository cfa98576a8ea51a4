"""`NamesProcessor`: the same constraint for transformers' `generate`, beams included."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from vectalk.decoding.names.row import RowNames, constrain
from vectalk.decoding.names.titles import State


class NamesProcessor(LogitsProcessor):
    """Masks the tokens that would name what does not exist.

    Args:
        rows: names of each prompt; None for a prompt without a constraint.
        beams: beams of each prompt.
    """

    def __init__(self, rows: Sequence[RowNames | None], beams: int = 1) -> None:
        self.rows = [row for row in rows for _ in range(beams)]
        self._states: dict[tuple[int, tuple[int, ...]], State | None] = {}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return the scores [B, V] of the next tokens; `input_ids` [B, T] are the tokens of the answers so far."""
        known, self._states = self._states, {}
        states: list[State | None] = []
        for row, ids in zip(self.rows, input_ids.tolist(), strict=True):
            states.append(None if row is None else self._state(row, tuple(ids), known))
        changed: Tensor = scores.clone()
        constrain(changed, self.rows, states)
        return changed  # type: ignore[return-value]

    def _state(
        self, row: RowNames, ids: tuple[int, ...], known: dict[tuple[int, tuple[int, ...]], State | None]
    ) -> State | None:
        """Return the state after tokens; None for a beam that is ruled out, which has a score of minus infinity."""
        key = (id(row), ids)
        if key not in self._states:
            before = known.get((id(row), ids[:-1]), State()) if ids else None
            self._states[key] = (before and row.names.after(before, ids[-1])) if ids else State()
        return self._states[key]
