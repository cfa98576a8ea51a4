"""A trial of a suite on its spaces: one text a task, and whether what it states can be read back."""

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

READABLE = 0.9  # an attribute that is read back from fewer reference texts is not scored by the evaluation
SAMPLE = 200  # training entities tried


@dataclass
class Trial:
    """What a task's texts are like.

    Attributes:
        task: name of the task.
        prompt: its first wording.
        titles: slot -> title of the example's entity.
        text: the example's text; None where no text could be written at all.
        written: share of the tried entities that a text could be written about.
        distinct: share of those texts that differ.
        read_back: attribute -> share of the texts from which it is read as the metadata have it.
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
        """What a corpus made of this task would suffer from."""
        if self.text is None:
            return [f"task {self.task!r}: no text can be written; the metadata lack all that its sentences need"]
        return [
            f"task {self.task!r}: states {name!r}, but it is read back from {share:.0%} of the texts only; below "
            f"{READABLE:.0%} it is not scored (name it in the texts, or give the attribute a `within`)"
            for name, share in self.read_back.items()
            if share < READABLE
        ]


def try_suite(suite: Suite, spaces: Mapping[str, VectorSpace], *, seed: int = 0) -> list[Trial]:
    """Write texts about some training entities for each task that the facts teacher can write.

    Args:
        suite: the suite.
        spaces: all spaces that it needs, by name.
        seed: picks entities and wordings.

    Raises:
        CorpusError: a space is missing, or a column cannot hold what its attribute needs.
        SuiteError: a wording cannot be written.
    """
    teacher = FactsTeacher(suite, spaces)
    return [_try(task, teacher, spaces, seed) for task in suite.tasks if task.facts]


def _try(task: Task, teacher: FactsTeacher, spaces: Mapping[str, VectorSpace], seed: int) -> Trial:
    trial = Trial(task.name, task.prompts[0])
    planned = [one for block in blocks(task, spaces, TRAIN, 1, seed) for one in block.assignments]
    kept = np.random.default_rng(seed).permutation(len(planned))[:SAMPLE]
    chosen = [planned[int(i)] for i in kept]
    told = [(one, text) for one, text in zip(chosen, teacher.write_many(chosen), strict=True) if text is not None]
    if not told:
        return trial
    example, trial.text = told[0]
    trial.titles = {slot: spaces[space].title(example.rows[slot]) for slot, space in task.slots.items()}
    trial.written = len(told) / len(chosen)
    trial.distinct = len({text for _, text in told}) / len(told)
    if len(task.slots) == 1:
        for name in task.states:
            found = [right for one, text in told if (right := _reads(teacher, task, name, one, text)) is not None]
            if found:
                trial.read_back[name] = sum(found) / len(found)
    return trial


def _reads(teacher: FactsTeacher, task: Task, name: str, one: Assignment, text: str) -> bool | None:
    """Say whether an attribute is read from a text as it is; None where the metadata lack it."""
    slot, space = next(iter(task.slots.items()))
    reader = teacher.readers[space][name]
    true, read = reader.value(one.rows[slot]), reader.read(text)
    return None if true is None else _sorted(read) == _sorted(true)


def _sorted(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value
