"""Measure the lengths of examples, and find examples that do not fit into the context of the LLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vectalk.tasks.corpus.check.findings import Batch, Finding, Tally, place_of, short
from vectalk.tasks.corpus.corpus import Corpus

QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}

# question, slot -> space, target -> length of prompt and target together, in tokens
Measure = Callable[[str, dict[str, str], str], int]


class Lengths:
    """Measures the length of prompt and target together, in tokens if there is a `measure`, else in characters.

    Args:
        corpus: the corpus.
        measure: returns the length of an example in tokens.
        context: context length of the LLM, in tokens.
    """

    def __init__(self, corpus: Corpus, measure: Measure | None = None, context: int | None = None) -> None:
        self.corpus, self.measure, self.context = corpus, measure, context
        self.unit = "characters" if measure is None else "tokens"
        self._counts: dict[str, np.ndarray] = {}  # task -> how many examples have each length
        self.longest, self.worst = 0, ""
        self.over = Tally()

    def add(self, batch: Batch) -> None:
        """Check a batch of examples."""
        for i, (task, prompt, target) in enumerate(zip(batch.tasks, batch.prompts, batch.targets, strict=True)):
            if self.measure is None:
                length = len(prompt) + len(target or "")
            elif not target:
                continue
            else:
                length = self.measure(prompt, {slot: space for slot, (space, _) in batch.slots[i].items()}, target)
            counts = self._counts.setdefault(task, np.zeros(256, np.int64))
            if length >= len(counts):
                counts = self._counts[task] = np.concatenate([counts, np.zeros(length + 1, np.int64)])
            counts[length] += 1
            if length > self.longest:
                self.longest, self.worst = length, f"{place_of(batch, i, self.corpus.spaces)}: {short(target or '')}"
            if self.context is not None and length > self.context:
                self.over.add(f"{place_of(batch, i, self.corpus.spaces)} is {length} tokens long")

    def findings(self) -> Iterator[Finding]:
        """Yield the findings about all batches."""
        yield from self.over.finding(
            "too-long",
            "problem",
            f"{{n}} examples are longer than the context of the LLM, {self.context} tokens; training would refuse them",
        )

    def figures(self) -> dict[str, Any]:
        """Return quantiles of the lengths, for each task and for all examples, and the longest example."""
        size = max((len(counts) for counts in self._counts.values()), default=1)
        total = np.zeros(size, np.int64)
        for counts in self._counts.values():
            total[: len(counts)] += counts
        return {
            "lengths": {
                "unit": self.unit,
                **({"context": self.context} if self.context is not None else {}),
                "all": _quantiles(total),
                "tasks": {task: _quantiles(counts) for task, counts in self._counts.items()},
                "longest": self.worst,
            }
        }


def _quantiles(counts: np.ndarray) -> dict[str, int]:
    """Return the quantiles of lengths; `counts[i]` is the number of examples of length i."""
    below = np.cumsum(counts)
    if not below[-1]:
        return {}
    quantiles = {name: int(np.searchsorted(below, share * below[-1])) for name, share in QUANTILES.items()}
    return {**quantiles, "max": int(np.flatnonzero(counts)[-1])}
