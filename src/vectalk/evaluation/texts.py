"""The texts of one task under each condition, and figures of them that are resampled together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vectalk.evaluation.metrics.bootstrap import Estimate, Statistic, difference, estimate, joined
from vectalk.tasks import Corpus, Example, Task

ELM = "elm"
RIVALS = ("shuffled", "copy_text", "probe_text")  # the model is compared with these entity by entity

Figure = tuple[str, str, Estimate]
"""Metric, condition, figure."""


@dataclass(frozen=True)
class TaskTexts:
    """What was written for the test examples of one task.

    Attributes:
        corpus: whose examples these are.
        task: the task.
        examples: n test examples.
        texts: condition -> n texts.
        seed: of the resamples.
        scores: metric -> condition -> a value [n] for each text, as the metrics leave them: what `answers.jsonl` keeps.
        rivals: conditions that the model is compared with entity by entity.
    """

    corpus: Corpus
    task: Task
    examples: Sequence[Example]
    texts: Mapping[str, list[str]]
    seed: int = 0
    scores: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    rivals: Sequence[str] = RIVALS

    @property
    def n(self) -> int:
        """Number of test examples."""
        return len(self.examples)

    @property
    def references(self) -> list[str]:
        """The reference texts of the examples."""
        return [example.target for example in self.examples]

    def rows(self, slot: str) -> np.ndarray:
        """Return the row [n] of the entity in a slot."""
        return np.array([example.slots[slot][1] for example in self.examples])

    def estimate(self, statistic: Statistic) -> Estimate:
        """Return a statistic of the examples with its interval."""
        return estimate(self.n, [statistic], seed=self.seed)

    def figures(
        self, metric: str, statistics: Mapping[str, Statistic], rivals: Sequence[str] | None = None
    ) -> Iterator[Figure]:
        """Yield a metric for each condition, and how much the model has more than each of its rivals.

        The difference of `recovery/genres` to `shuffled` is called `recovery_minus_shuffled/genres`.
        """
        for condition, statistic in statistics.items():
            yield metric, condition, self.estimate(statistic)
        name, slash, rest = metric.partition("/")
        for rival in self.rivals if rivals is None else rivals:
            if ELM in statistics and rival in statistics:
                gap = joined(difference, statistics[ELM], statistics[rival])
                yield f"{name}_minus_{rival}{slash}{rest}", ELM, self.estimate(gap)
