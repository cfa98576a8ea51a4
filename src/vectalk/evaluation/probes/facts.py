"""Predictions from vectors without a model (probes, votes, constants), and texts written from the predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.metrics.rows import majority
from vectalk.evaluation.probes.probe import CANDIDATES, Probe, known_values
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.tasks import Corpus, Example, FactsTeacher, Task
from vectalk.tasks.attributes import SURROUNDINGS, UNREAD, AttributeReader
from vectalk.tasks.suite import ABOUT
from vectalk.tasks.surroundings import SpaceReader


class NotRunError(EvaluationError):
    """A condition cannot be written for a task."""


class Facts:
    """Predictions for each attribute. A probe is fitted at its first use; each prediction is computed once.

    Args:
        corpus: tasks and spaces.
        seed: seed of the probes and of the choice of words.
        progress: called with a label of the probe, the number of fitted candidates, and the total.

    Attributes:
        teacher: writes texts from values.
        notes: (space, attribute) -> reason why no probe can be fitted.
    """

    def __init__(
        self, corpus: Corpus, seed: int, progress: Callable[[str, int, int], None] = lambda what, done, total: None
    ) -> None:
        self.teacher, self.seed, self.progress = FactsTeacher(corpus.suite, corpus.spaces), seed, progress
        self.notes: dict[tuple[str, str], str] = {}
        self.probes: dict[tuple[str, str, str], Probe | None] = {}
        self._majorities: dict[tuple[str, str], Any] = {}
        self._predicted: dict[tuple[str, str, str], dict[int, Any]] = {}

    def reader(self, space: str, attribute: str) -> AttributeReader:
        """Return the reader of an attribute."""
        return self.teacher.readers[space][attribute]

    def probe(self, space: str, attribute: str, source: str = "probe_text") -> Probe | None:
        """Return the fixed probe (for `vote_text`, only the vote), or None if none can be fitted."""
        key, reader = (space, attribute, source), self.reader(space, attribute)
        if key not in self.probes and (reader.kind in UNREAD or not reader.present):
            self.probes[key] = None
        if key not in self.probes:
            candidates = ("vote",) if source == "vote_text" else CANDIDATES
            try:
                tell = partial(self.progress, f"probe of {space}/{attribute}")
                self.probes[key] = Probe.fit(reader, seed=self.seed, candidates=candidates, progress=tell)
            except EvaluationError as error:
                self.probes[key], self.notes[space, attribute] = None, str(error)
        return self.probes[key]

    def majority(self, space: str, attribute: str) -> Any:
        """Return the best constant value, or None if no probe can be fitted."""
        key = (space, attribute)
        if key not in self._majorities:
            reader, constant = self.reader(space, attribute), None
            if self.probe(space, attribute) is not None:
                constant = majority(reader, known_values(reader, TRAIN)[1], known_values(reader, VALIDATION)[1])
            self._majorities[key] = constant
        return self._majorities[key]

    def predict(self, source: str, space: str, attribute: str, rows: np.ndarray) -> list[Any]:
        """Return one value for the vector of each row, from `majority`, `vote_text` or `probe_text`; None if unknown.

        Attributes of the neighbourhood need no prediction: a baseline that has the vector can look up its neighbours.
        """
        reader = self.reader(space, attribute)
        if reader.kind in SURROUNDINGS and source != "majority":
            reader.prepare(rows.tolist())
            return [reader.value(int(row)) for row in rows]
        if source == "majority":
            return [self.majority(space, attribute)] * len(rows)
        probe = self.probe(space, attribute, source)
        if probe is None:
            return [None] * len(rows)
        known = self._predicted.setdefault((source, space, attribute), {})
        new = np.array([row for row in dict.fromkeys(rows.tolist()) if row not in known], np.int64)
        if len(new):
            known.update(zip(new.tolist(), probe.predict(reader.space.vectors[new], exclude=new), strict=True))
        return [known[row] for row in rows.tolist()]

    def spell(self, source: str, task: Task, examples: Sequence[Example]) -> list[str]:
        """Return a text for each example, written from predicted values; unknown values are left out."""
        if not task.facts:
            raise NotRunError(f"task {task.name!r} has no `facts`, so no text can be written from values")
        values: list[dict[str, dict[str, Any]]] = [{} for _ in examples]
        for slot, space in task.slots.items():
            rows = np.array([example.slots[slot][1] for example in examples])
            used = sorted(self.teacher.used(task)[slot])  # attributes in no sentence need no probe
            columns = {name: self.predict(source, space, name, rows) for name in used}
            for i, value in enumerate(values):
                value[slot] = {name: column[i] for name, column in columns.items()}
        if task.between is not None and source != "majority":
            around = self.teacher.about(task, [{slot: row for slot, (_, row) in e.slots.items()} for e in examples])
            for value, neighborhood in zip(values, around, strict=True):
                value[ABOUT] = neighborhood
        return [self.teacher.spell(task, v, f"{self.seed}/{i}") or "" for i, v in enumerate(values)]

    def spell_at(self, task: Task, vectors: np.ndarray) -> list[str]:
        """Return a text for each vector [n, D], written from the values that probes read; the task has one slot."""
        if not task.facts:
            raise NotRunError(f"task {task.name!r} has no `facts`, so no text can be written from values")
        slot, space = next(iter(task.slots.items()))
        around: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        columns = {}
        for name in sorted(self.teacher.used(task)[slot]):
            reader, probe = self.reader(space, name), self.probe(space, name)
            if isinstance(reader, SpaceReader) and reader.kind in SURROUNDINGS:
                columns[name] = reader.at(vectors, around)
            else:
                columns[name] = [None] * len(vectors) if probe is None else probe.predict(vectors)
        values = [{slot: {name: column[i] for name, column in columns.items()}} for i in range(len(vectors))]
        return [self.teacher.spell(task, value, f"{self.seed}/{i}") or "" for i, value in enumerate(values)]
