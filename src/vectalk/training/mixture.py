"""`Mixture`: which examples each step of a stage learns, from one or two kinds of examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np

from vectalk.training.config import StageConfig
from vectalk.training.data import Examples
from vectalk.training.order import length_grouped


class Mixture:
    """The examples of a stage: of one kind, or steps of a second kind in between.

    Args:
        examples: examples of the first kind.
        numbers: numbers of those examples to learn; None means all.
        second: examples of the second kind, with the numbers of those to learn.
        share: share of the steps that learn the second kind, 0 to 1. These steps are spread evenly.
        balance: how evenly the tasks of each kind are learned (see `length_grouped`).
    """

    def __init__(
        self,
        examples: Examples,
        numbers: np.ndarray | None = None,
        second: tuple[Examples, np.ndarray | None] | None = None,
        share: float = 0.0,
        balance: float = 0.0,
    ) -> None:
        self.kinds = [(examples, numbers)] if second is None else [(examples, numbers), second]
        self.share = 0.0 if second is None else share
        self.balance = balance

    @classmethod
    def of(cls, stage: StageConfig, targets: Examples, taught: Examples | None = None) -> Mixture:
        """Return what a stage learns: the target texts of its tasks, or what a teacher answered and those in between.

        Args:
            stage: settings of the stage.
            targets: examples of target texts, of all tasks.
            taught: the teacher's answers, for a stage that distills.
        """
        numbers = None if stage.tasks is None else targets.of_tasks(stage.tasks)
        if taught is None:
            return cls(targets, numbers, balance=stage.balance)
        return cls(taught, None, (targets, numbers), stage.mix, stage.balance)

    def order(
        self, batch_size: int, seed: Sequence[int], start: int, batch_tokens: int | None
    ) -> Iterator[tuple[Examples, np.ndarray]]:
        """Yield the examples and their numbers for each step.

        Args:
            batch_size: examples per step.
            seed: seed of the order.
            start: first step; the steps from there on are the same whatever it is.
            batch_tokens: most tokens per step.
        """
        second = self._second_before(start)
        starts, seeds = (start - second, second), ([*seed], [*seed, 1])
        orders = [
            length_grouped(
                examples.lengths if numbers is None else examples.lengths[numbers],
                batch_size,
                seeds[kind],
                starts[kind],
                tokens=batch_tokens,
                groups=examples.task_numbers if numbers is None else examples.task_numbers[numbers],
                balance=self.balance,
            )
            for kind, (examples, numbers) in enumerate(self.kinds)
        ]
        for step in count(start):
            kind = self._second_before(step + 1) - self._second_before(step)
            examples, numbers = self.kinds[kind]
            chosen = next(orders[kind])
            yield examples, chosen if numbers is None else numbers[chosen]

    def _second_before(self, step: int) -> int:
        """Return how many of the first steps learn the second kind."""
        return int(step * self.share + 1e-9)
