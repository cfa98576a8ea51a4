"""Try a suite on its spaces: write sample texts of each task, and measure whether their attributes can be read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vectalk.space import VectorSpace
from vectalk.space.split import TRAIN
from vectalk.tasks.corpus.plan import blocks
from vectalk.tasks.suite import Suite, Task
from vectalk.tasks.teachers.facts import Assignment, FactsTeacher

READABLE = 0.9  # the evaluation scores an attribute only if it is read back from this share of reference texts
SAMPLE = 200  # training examples per task


@dataclass
class Trial:
    """Sample texts of one task, and how well they work.

    Attributes:
        task: name of the task.
        prompt: the first wording of its question.
        titles: slot -> title of the example's entity.
        text: the text of the example; None if no text could be written.
        written: share of the tried examples that have a text.
        distinct: number of different texts divided by the number of texts.
        read_back: attribute -> share of the texts from which the value of the metadata is read back.
    """

    task: str
    prompt: str
    titles: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    written: float = 0.0
    distinct: float = 0.0
    read_back: dict[str, float] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Problems that a corpus of this task would have."""
        if self.text is None:
            return [
                f"task {self.task!r}: no text can be written: the metadata lack the attributes that its sentences need"
            ]
        return [
            f"task {self.task!r}: states {name!r}, but only {share:.0%} of the texts are read back correctly; below "
            f"{READABLE:.0%} it is not scored (state its value in the texts, or add `within` to the attribute)"
            for name, share in self.read_back.items()
            if share < READABLE
        ]


def try_suite(suite: Suite, spaces: Mapping[str, VectorSpace], *, seed: int = 0) -> list[Trial]:
    """Write texts about some training entities for each task that the facts teacher can write.

    Args:
        suite: the suite.
        spaces: all spaces that it needs, by name.
        seed: selects entities and wordings.

    Raises:
        CorpusError: a space is missing, or a column cannot hold what its attribute needs.
        SuiteError: a wording is faulty.
    """
    teacher = FactsTeacher(suite, spaces)
    return [_try(task, teacher, spaces, seed) for task in suite.tasks if task.facts]


def _try(task: Task, teacher: FactsTeacher, spaces: Mapping[str, VectorSpace], seed: int) -> Trial:
    trial = Trial(task.name, task.prompts[0])
    planned = [one for block in blocks(task, spaces, TRAIN, 1, seed) for one in block.assignments]
    numbers = np.random.default_rng(seed).permutation(len(planned))[:SAMPLE]
    sample = [planned[int(i)] for i in numbers]
    pairs = [(one, text) for one, text in zip(sample, teacher.write_many(sample), strict=True) if text is not None]
    if not pairs:
        return trial
    example, trial.text = pairs[0]
    trial.titles = {slot: spaces[space].title(example.rows[slot]) for slot, space in task.slots.items()}
    trial.written = len(pairs) / len(sample)
    trial.distinct = len({text for _, text in pairs}) / len(pairs)
    if len(task.slots) == 1:
        for name in task.states:
            matches = [match for one, text in pairs if (match := _reads(teacher, task, name, one, text)) is not None]
            if matches:
                trial.read_back[name] = sum(matches) / len(matches)
    return trial


def _reads(teacher: FactsTeacher, task: Task, name: str, one: Assignment, text: str) -> bool | None:
    """Return whether the value read from a text equals the metadata; None if the metadata have no value."""
    slot, space = next(iter(task.slots.items()))
    reader = teacher.readers[space][name]
    true, read = reader.value(one.rows[slot]), reader.read(text)
    return None if true is None else _sorted(read) == _sorted(true)


def _sorted(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value
