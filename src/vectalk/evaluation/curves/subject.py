"""One task about one entity, asked about any point of its space, with the metrics that score the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.answers import Answers
from vectalk.evaluation.metrics.bootstrap import Estimate, Statistic, estimate, mean_of
from vectalk.evaluation.metrics.rows import cosines
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.space_map import SpaceMap
from vectalk.readback import ReadBack, SameEncoder, TextEncoder
from vectalk.space import VectorSpace
from vectalk.space.neighbors import nearest
from vectalk.space.split import TEST, TRAIN, VALIDATION
from vectalk.tasks import Corpus, Example, Task
from vectalk.tasks.attributes import AttributeReader

Row = dict[str, Any]
NONE = Estimate(None, None, None, 0)


@dataclass(frozen=True)
class Subject:
    """One task about one entity, with the read-back, probes and references that score its answers.

    Attributes:
        references: training examples of the task.
        copies: training row -> its reference text.
        answer_rows: the rows of `curves_answers.jsonl`, one for each answer.
        own_texts: test row -> its reference text; filled by the first call of `own`.
    """

    corpus: Corpus
    task: Task
    slot: str
    space: VectorSpace
    readers: dict[str, AttributeReader]
    facts: Facts
    answers: Answers
    readback: ReadBack | SameEncoder
    references: list[Example]
    copies: dict[int, str]
    plane: SpaceMap
    seed: int
    answer_rows: list[Row] = field(default_factory=list)
    own_texts: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        task: Task,
        facts: Facts,
        answers: Answers,
        encoder: str | TextEncoder,
        same_encoder: bool,
        most_texts: int,
        seed: int,
    ) -> Subject:
        """Fit the read-back, and collect one reference text for each training entity."""
        slot, name = next(iter(task.slots.items()))
        space, examples = corpus.spaces[name], list(corpus.examples(TRAIN, task.name))
        validation = list(corpus.examples(VALIDATION, task.name))
        readback: ReadBack | SameEncoder
        if same_encoder:
            readback = SameEncoder(space, encoder)
        else:
            readback = ReadBack.fit(
                space, examples, encoder, about=task.about, validation=validation, most_texts=most_texts, seed=seed
            )
        copies: dict[int, str] = {}
        for example in examples:
            copies.setdefault(example.slots[slot][1], example.target)
        readers = {a: facts.reader(name, a) for a in task.states}
        plane = SpaceMap.fit(space)
        return cls(corpus, task, slot, space, readers, facts, answers, readback, examples, copies, plane, seed)

    def ask(self, vectors: np.ndarray, what: str) -> list[str]:
        """Return the answers about vectors [Q, D]."""
        questions = [(self.task.prompts[0], {self.slot: (self.space.name, np.asarray(v, np.float32))}) for v in vectors]
        return self.answers(questions, f"{self.task.name}: {what}")

    def copy(self, vectors: np.ndarray) -> list[str]:
        """Return the reference text of the nearest training entity to each vector [Q, D]."""
        among = np.array(sorted(self.copies))
        neighbors, _ = nearest(vectors, self.space.vectors, 1, self.space.metric, rows=among)
        return [self.copies[int(row)] for row in neighbors[:, 0]]

    def own(self, rows: np.ndarray) -> list[str] | None:
        """Return the reference text of each test entity [n], or None if any of these texts is missing."""
        if not self.own_texts:
            for example in self.corpus.examples(TEST, self.task.name):
                self.own_texts.setdefault(example.slots[self.slot][1], example.target)
        known = [self.own_texts.get(int(row)) for row in rows]
        return None if None in known else known  # type: ignore[return-value]

    def consistency(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """Return the semantic consistency (SC) [Q] of texts about vectors [Q, D]."""
        centre = self.readback.centre
        return cosines(self.readback(texts) - centre, np.asarray(vectors, np.float32) - centre)

    def record(
        self,
        curve: str,
        condition: str,
        x: float | None,
        subjects: Sequence[str],
        vectors: np.ndarray,
        texts: Sequence[str],
        consistency: np.ndarray,
        **more: Sequence[Any],
    ) -> None:
        """Append a row to `answer_rows` for each vector [Q, D], with its place on the map; `more` adds columns [Q]."""
        where = {"curve": curve, "space": self.space.name, "task": self.task.name, "condition": condition, "x": x}
        for i, place in enumerate(self.plane.place(vectors).tolist()):
            row = {**where, "subject": subjects[i], "answer": texts[i], "sc": round(float(consistency[i]), 4)}
            self.answer_rows.append({**row, "at": place, **{key: values[i] for key, values in more.items()}})

    # ---- rows

    def row(
        self, curve: str, metric: str, condition: str, x: float, values: np.ndarray, subject: str | None = None
    ) -> Row:
        """Return one row: the mean of values [n] with its interval; NaN values are left out."""
        values = values[np.isfinite(values)]
        mean = estimate(len(values), [mean_of(values)], seed=self.seed) if len(values) else NONE
        return self.figure(curve, metric, condition, x, mean, subject)

    def figure(
        self, curve: str, metric: str, condition: str, x: float, value: Estimate, subject: str | None = None
    ) -> Row:
        """Return the row of a figure."""
        where = {"curve": curve, "space": self.space.name, "task": self.task.name, "subject": subject}
        return {**where, "metric": metric, "condition": condition, "x": x, **value._asdict()}

    def joint(self, n: int, statistics: Sequence[Statistic], combine: Any) -> Estimate:
        """Return a function of several statistics of the same n entities, with its interval."""
        return estimate(n, statistics, combine, seed=self.seed)

    def supported(self, curve: str, condition: str, x: float, vectors: np.ndarray, subject: str | None) -> list[Row]:
        """Return the rows of the mean support percentile, and of the shares of `far` and `central` vectors."""
        supports = self.space.supports(vectors)
        rows = [self.row(curve, "percentile", condition, x, np.array([s.percentile for s in supports]), subject)]
        for verdict in ("far", "central"):
            share = np.array([float(s.verdict == verdict) for s in supports])
            rows.append(self.row(curve, verdict, condition, x, share, subject))
        return rows


def values_of(value: Any) -> set[str]:
    """Return the values of an attribute as a set; an empty set for a number."""
    return set(value) if isinstance(value, list) else {value} if isinstance(value, str) else set()


def subjects(corpus: Corpus, names: Sequence[str] | None) -> list[Task]:
    """Return the named tasks, or for each space the first task about one entity that states attributes.

    Raises:
        EvaluationError: a named task is not of this kind, or the corpus has no such task.
    """
    candidates = [t for t in corpus.suite.tasks if len(t.slots) == 1 and t.about in t.slots and t.states]
    if names:
        unfit = [name for name in names if name not in {t.name for t in candidates}]
        if unfit:
            raise EvaluationError(
                f"task {unfit[0]!r} has no curves: curves need a task that is about one entity and states attributes. "
                f"Such tasks of the corpus: {', '.join(t.name for t in candidates) or 'none'}"
            )
        return [t for t in candidates if t.name in names]
    first: dict[str, Task] = {}
    for task in candidates:
        first.setdefault(next(iter(task.slots.values())), task)
    if not first:
        raise EvaluationError(
            "curves need a task that is about one entity and states attributes; the corpus has none. "
            "Add such a task to the suite, and build the corpus again"
        )
    return list(first.values())
