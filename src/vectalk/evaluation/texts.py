"""The texts of one task under each condition, and figures of these texts that share their resamples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vectalk.evaluation.metrics.bootstrap import Estimate, Statistic, difference, estimate, joined
from vectalk.tasks import Corpus, Example, Task

ELM = "elm"
BASELINES = ("shuffled", "copy_text", "probe_text")  # paired comparisons of the model with these conditions

Figure = tuple[str, str, Estimate]
"""Metric, condition, estimate."""


@dataclass(frozen=True)
class TaskTexts:
    """The texts of all conditions for the test examples of one task.

    Attributes:
        corpus: the corpus of the examples.
        task: the task.
        examples: n test examples.
        texts: condition -> n texts.
        seed: seed of the resamples.
        scores: metric -> condition -> values [n], one for each text. The metrics fill it, for `answers.jsonl`.
        baselines: conditions that the model is compared with, entity by entity.
    """

    corpus: Corpus
    task: Task
    examples: Sequence[Example]
    texts: Mapping[str, list[str]]
    seed: int = 0
    scores: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    baselines: Sequence[str] = BASELINES

    @property
    def n(self) -> int:
        """The number of test examples."""
        return len(self.examples)

    @property
    def references(self) -> list[str]:
        """The reference texts of the examples."""
        return [example.target for example in self.examples]

    def rows(self, slot: str) -> np.ndarray:
        """Return the rows [n] of the entities in a slot."""
        return np.array([example.slots[slot][1] for example in self.examples])

    def estimate(self, statistic: Statistic) -> Estimate:
        """Return a statistic of the examples with its interval."""
        return estimate(self.n, [statistic], seed=self.seed)

    def figures(
        self, metric: str, statistics: Mapping[str, Statistic], baselines: Sequence[str] | None = None
    ) -> Iterator[Figure]:
        """Yield a metric for each condition, and the difference of the model to each baseline.

        The difference of `recovery/genres` to `shuffled` is called `recovery_minus_shuffled/genres`.
        """
        for condition, statistic in statistics.items():
            yield metric, condition, self.estimate(statistic)
        name, slash, rest = metric.partition("/")
        for baseline in self.baselines if baselines is None else baselines:
            if ELM in statistics and baseline in statistics:
                gap = joined(difference, statistics[ELM], statistics[baseline])
                yield f"{name}_minus_{baseline}{slash}{rest}", ELM, self.estimate(gap)
