"""The conditions of one task: the model, controls that lost the vector, and rivals that see it without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.answers import Answers, Slots
from vectalk.evaluation.metrics import majority
from vectalk.evaluation.probe import CANDIDATES, Probe, known_values
from vectalk.space import VectorSpace
from vectalk.space.neighbors import nearest
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.tasks import Corpus, Example, FactsTeacher, Task
from vectalk.tasks.attributes import SURROUNDINGS, UNREAD, AttributeReader

GENERATED = ("elm", "shuffled", "mean", "gaussian")
SPELLED = ("majority", "vote_text", "probe_text")
CONDITIONS = (*GENERATED[:3], "majority", "copy_text", "vote_text", "probe_text", "own_text")
REQUIRED = ("elm", "shuffled", "mean", "majority", "probe_text", "own_text")
ALL = (*GENERATED, "majority", "copy_text", "vote_text", "probe_text", "own_text")
MOST_ROWS = 50_000


class NotRunError(EvaluationError):
    """A condition cannot be written for a task."""


class Facts:
    """What can be told of vectors without a model, attribute by attribute; fitted when first asked for.

    Attributes:
        teacher: spells values out.
        notes: (space, attribute) -> why it cannot be probed.
    """

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self.teacher, self.seed = FactsTeacher(corpus.suite, corpus.spaces), seed
        self.notes: dict[tuple[str, str], str] = {}
        self.probes: dict[tuple[str, str, str], Probe | None] = {}
        self._majorities: dict[tuple[str, str], Any] = {}

    def reader(self, space: str, attribute: str) -> AttributeReader:
        """Return the reader of an attribute."""
        return self.teacher.readers[space][attribute]

    def probe(self, space: str, attribute: str, source: str = "probe_text") -> Probe | None:
        """Return the fixed probe (or the vote alone, for `vote_text`), or None where none can be fitted."""
        key, reader = (space, attribute, source), self.reader(space, attribute)
        if key not in self.probes and (reader.kind in UNREAD or not reader.present):
            self.probes[key] = None
        if key not in self.probes:
            candidates = ("vote",) if source == "vote_text" else CANDIDATES
            try:
                self.probes[key] = Probe.fit(reader, seed=self.seed, candidates=candidates)
            except EvaluationError as error:
                self.probes[key], self.notes[space, attribute] = None, str(error)
        return self.probes[key]

    def majority(self, space: str, attribute: str) -> Any:
        """Return the best constant value; None where a probe cannot be fitted either."""
        key = (space, attribute)
        if key not in self._majorities:
            reader, constant = self.reader(space, attribute), None
            if self.probe(space, attribute) is not None:
                constant = majority(reader, known_values(reader, TRAIN)[1], known_values(reader, VALIDATION)[1])
            self._majorities[key] = constant
        return self._majorities[key]

    def predict(self, source: str, space: str, attribute: str, rows: np.ndarray) -> list[Any]:
        """Return a value for each row's vector, by `majority`, `vote_text` or `probe_text`; None for unknown.

        Neighbours are the vector's own nearest training entities: rivals see the vector, so they see these.
        """
        reader = self.reader(space, attribute)
        if reader.kind in SURROUNDINGS and source != "majority":
            reader.prepare(rows.tolist())
            return [reader.value(int(row)) for row in rows]
        if source == "majority":
            return [self.majority(space, attribute)] * len(rows)
        probe = self.probe(space, attribute, source)
        return [None] * len(rows) if probe is None else probe.predict(reader.space.vectors[rows], exclude=rows)

    def spell(self, source: str, task: Task, examples: Sequence[Example]) -> list[str]:
        """Write a text for each example from predicted values; what is not known is left out."""
        if not task.facts:
            raise NotRunError(f"task {task.name!r} has no `facts` to spell values with")
        values: list[dict[str, dict[str, Any]]] = [{} for _ in examples]
        for slot, space in task.slots.items():
            rows = np.array([example.slots[slot][1] for example in examples])
            columns = {name: self.predict(source, space, name, rows) for name in self.teacher.readers[space]}
            for i, value in enumerate(values):
                value[slot] = {name: column[i] for name, column in columns.items()}
        return [self.teacher.spell(task, v, f"{self.seed}/{i}") or "" for i, v in enumerate(values)]


class Conditions:
    """Writes the texts of one task under each condition.

    Args:
        corpus: whose test examples are asked about.
        task: the task.
        examples: the test examples.
        references: training examples of the task, to copy from.
        facts: the rivals' knowledge.
        answers: asks the model.
        seed: decides the permutation, the noise and the wordings.
    """

    def __init__(
        self,
        corpus: Corpus,
        task: Task,
        examples: Sequence[Example],
        references: Sequence[Example],
        facts: Facts,
        answers: Answers,
        seed: int,
    ) -> None:
        self.corpus, self.task, self.examples, self.references = corpus, task, examples, references
        self.facts, self.answers, self.seed = facts, answers, seed

    def texts(self, condition: str) -> list[str]:
        """Return one text an example.

        Raises:
            NotRunError: the condition cannot be written for this task.
        """
        if condition == "own_text":
            return [example.target for example in self.examples]
        if condition == "copy_text":
            return self._copied()
        if condition in SPELLED:
            return self.facts.spell(condition, self.task, self.examples)
        vectors: dict[str, Callable[[], list[Slots]]] = {
            "elm": self._right,
            "shuffled": self._shuffled,
            "mean": lambda: self._drawn(lambda space, n: np.tile(space.normalizer.mean, (n, 1))),
            "gaussian": lambda: self._drawn(lambda space, n: gaussian(space, n, self.seed)),
        }
        prompts = [example.prompt for example in self.examples]
        what = f"{self.task.name}: {condition}"
        return self.answers(list(zip(prompts, vectors[condition](), strict=True)), what)

    def _right(self) -> list[Slots]:
        spaces = self.corpus.spaces
        return [
            {
                slot: (space, np.asarray(spaces[space].vectors[row], np.float32))
                for slot, (space, row) in e.slots.items()
            }
            for e in self.examples
        ]

    def _shuffled(self) -> list[Slots]:
        right = self._right()
        return [right[i] for i in derangement(len(right), self.seed)]

    def _drawn(self, draw: Callable[[VectorSpace, int], np.ndarray]) -> list[Slots]:
        n = len(self.examples)
        drawn = {slot: (space, draw(self.corpus.spaces[space], n)) for slot, space in self.task.slots.items()}
        return [{slot: (space, vectors[i]) for slot, (space, vectors) in drawn.items()} for i in range(n)]

    def _copied(self) -> list[str]:
        """Take the reference text of the nearest training entity, or spell that of the nearest pair."""
        if len(self.task.slots) == 1:
            slot, space = next(iter(self.task.slots.items()))
            written: dict[int, str] = {}
            for example in self.references:
                written.setdefault(example.slots[slot][1], example.target)
            if not written:
                raise NotRunError(f"task {self.task.name!r} has no training texts to copy")
            found = self._nearest(slot, space, np.array(sorted(written)))
            return [written[int(row)] for row in found]
        if not self.task.facts:
            raise NotRunError(f"task {self.task.name!r} has no `facts`; the text of a nearest pair cannot be written")
        near = {slot: self._nearest(slot, space) for slot, space in self.task.slots.items()}
        pairs = [{slot: int(rows[i]) for slot, rows in near.items()} for i in range(len(self.examples))]
        return [self.facts.teacher.write(self.task, pair, f"{self.seed}/{i}") or "" for i, pair in enumerate(pairs)]

    def _nearest(self, slot: str, space_name: str, among: np.ndarray | None = None) -> np.ndarray:
        space = self.corpus.spaces[space_name]
        own = np.array([example.slots[slot][1] for example in self.examples])
        among = space.rows(TRAIN) if among is None else among
        found, _ = nearest(space.vectors[own], space.vectors, 1, space.metric, rows=among, exclude=own)
        return found[:, 0]


def derangement(n: int, seed: int) -> np.ndarray:
    """Return a random permutation [n] that leaves nothing in its place (one cycle, after Sattolo)."""
    if n < 2:
        raise EvaluationError(f"the shuffled control needs at least 2 test examples of a task, not {n}")
    rng, order = np.random.default_rng(seed), np.arange(n)
    for i in range(n - 1, 0, -1):
        j = int(rng.integers(i))
        order[i], order[j] = order[j], order[i]
    return order


def gaussian(space: VectorSpace, n: int, seed: int) -> np.ndarray:
    """Return vectors [n, D] of nobody, with the mean and covariance of training entities."""
    rows = space.rows(TRAIN)
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(np.int64)]
    centred = np.asarray(space.vectors[sample], np.float32) - space.normalizer.mean
    _, scale, basis = np.linalg.svd(centred, full_matrices=False)
    normal = np.random.default_rng(seed).standard_normal((n, len(scale)))
    drawn = normal @ (scale[:, None] * basis) / np.sqrt(len(sample)) + space.normalizer.mean
    return drawn.astype(np.float32)
