"""`RowNames`: the names of one answer in progress; masks the tokens that would name what does not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vectalk.decoding.names.titles import State, TitleNames
from vectalk.decoding.names.trie import Node
from vectalk.errors import EngineError


class Choice(NamedTuple):
    """What may follow.

    Attributes:
        only: whether no other tokens than `ids` may follow.
        ids: tokens [m].
        gains: [m] added to the logits of these tokens; minus infinity forbids a token.
    """

    only: bool
    ids: np.ndarray
    gains: np.ndarray


class RowNames:
    """The names of one answer.

    The score of a token is the LLM's log-probability plus `weight` (V(child) - V(node)). V is the best score of any
    title below a node that may still be named. The differences add up to the score of the title, so a long title does
    not count more often than a short one.

    Args:
        names: the titles; all answers share them.
        scores: [T] how well each title fits the vector; minus infinity for a title that may not be named. A function
            that returns them is called when they are first needed. None where nothing is known.
        weight: weight of the scores; 0 uses the LLM alone.
        excluded: places of titles that may not be named, such as those of the entities in the question.
    """

    def __init__(
        self,
        names: TitleNames,
        scores: np.ndarray | Callable[[], np.ndarray | None] | None = None,
        weight: float = 0.0,
        excluded: Iterable[int] = (),
    ) -> None:
        self.names, self.weight, self.state = names, weight, State()
        self._source, self._excluded = scores, list(excluded)
        self._ordered: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}
        self._choices: dict[State, Choice] = {}
        self._last: tuple[State, Choice] | None = None

    @cached_property
    def _scores(self) -> np.ndarray:
        scores = self._source() if callable(self._source) else self._source
        own = np.zeros(len(self.names.titles), np.float32) if scores is None else np.array(scores, np.float32)
        own[self._excluded] = -np.inf
        return own

    def choice(self, state: State) -> Choice:
        """Return what may follow a state."""
        if self._last is not None and self._last[0] is state:  # most tokens outside of names change nothing
            return self._last[1]
        if state not in self._choices:
            if len(self._choices) > 64:  # several states are needed at once only by beams
                self._choices.clear()
            self._choices[state] = self._outside(state) if state.quote < 0 else self._within(state)
        self._last = (state, self._choices[state])
        return self._choices[state]

    def advance(self, token: int) -> None:
        """Read the token that was chosen."""
        state = self.names.after(self.state, token)
        if state is None:
            raise EngineError(f"token {token} names no title; the LLM's logits are not finite numbers")
        self.state = state

    def _within(self, state: State) -> Choice:
        steps = self.names.tries[state.quote].steps(state.node)
        if len(steps.ids) == 1:  # the best title below stays the best
            return Choice(True, steps.ids, np.zeros(1, np.float32))
        scores = self._values(state.quote, state.used)
        gains = self._gains(scores, steps.bounds, state.node)
        alive = np.isfinite(gains)
        return Choice(True, steps.ids[alive], gains[alive])

    def _outside(self, state: State) -> Choice:
        openings = self.names.openings(state.tail)
        ids, gains = [openings.forbidden], [np.full(len(openings.forbidden), -np.inf, np.float32)]
        for quote, trie in enumerate(self.names.tries):
            if len(openings.ids[quote]):
                gain = self._gains(self._values(quote, state.used), openings.bounds[quote], trie.root)
                changed = gain != 0
                ids.append(openings.ids[quote][changed])
                gains.append(gain[changed])
        return Choice(False, np.concatenate(ids), np.concatenate(gains))

    def _gains(self, scores: np.ndarray, bounds: np.ndarray, node: Node) -> np.ndarray:
        """Return weight (V(child) - V(node)) [m] of children with these bounds [2m]; minus infinity without titles."""
        if not len(bounds):
            return np.zeros(0, np.float32)
        values = np.maximum.reduceat(scores, bounds)[::2]
        best = scores[node.low : node.high].max()
        alive = np.isfinite(values)
        return np.where(alive, self.weight * (np.where(alive, values, 0) - (best if np.isfinite(best) else 0)), -np.inf)

    def _values(self, quote: int, used: tuple[int, ...]) -> np.ndarray:
        """Return the scores in the order of a trie, and minus infinity after the last."""
        key = (quote, used)
        if key not in self._ordered:
            if len(self._ordered) > 8:
                self._ordered.clear()
            scores = np.append(self._scores, np.float32(-np.inf))
            scores[list(used)] = -np.inf
            self._ordered[key] = scores[np.append(self.names.tries[quote].order, len(scores) - 1)]
        return self._ordered[key]


def constrain(logits: Tensor, rows: Sequence[RowNames | None], states: Sequence[State | None] | None = None) -> None:
    """Change logits [B, V] in place so that rows name only what exists.

    Args:
        logits: of the next token of each row.
        rows: the names of each row; None for a row without a constraint.
        states: the state of each row, where it is not the row's own; None for a row that is past saving.
    """
    parts: dict[bool, list[tuple[int, Choice]]] = {True: [], False: []}
    for place, row in enumerate(rows):
        state = None if row is None else row.state if states is None else states[place]
        if row is not None and state is not None:
            choice = row.choice(state)
            parts[choice.only].append((place, choice))
    for only, choices in parts.items():
        if not choices:
            continue
        sizes = [len(choice.ids) for _, choice in choices]
        places = torch.from_numpy(np.repeat([place for place, _ in choices], sizes)).to(logits.device)
        ids = torch.from_numpy(np.concatenate([choice.ids for _, choice in choices])).to(logits.device)
        gains = torch.from_numpy(np.concatenate([choice.gains for _, choice in choices])).to(logits)
        values = logits[places, ids]
        if only:  # one of these must follow, even where a ban on repetition forbids all of them
            values = values.clamp_min(torch.finfo(logits.dtype).min / 2)
            logits[torch.tensor([place for place, _ in choices], device=logits.device)] = -torch.inf
        logits[places, ids] = values + gains
