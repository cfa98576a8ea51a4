"""One task about one entity, asked about any point of its space, and all that is needed to judge the answers."""

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
    """One task about one entity, and what judges its answers.

    Attributes:
        references: training examples of the task.
        copies: training row -> its reference text.
        told: what was said of each point, for `curves_answers.jsonl`.
        owned: test row -> its reference text, once asked for.
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
    told: list[Row] = field(default_factory=list)
    owned: dict[int, str] = field(default_factory=dict)

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
        """Fit the read-back, and keep one reference text of each training entity."""
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
        asked = [(self.task.prompts[0], {self.slot: (self.space.name, np.asarray(v, np.float32))}) for v in vectors]
        return self.answers(asked, f"{self.task.name}: {what}")

    def copy(self, vectors: np.ndarray) -> list[str]:
        """Return the reference text of the nearest training entity to each vector [Q, D]."""
        among = np.array(sorted(self.copies))
        found, _ = nearest(vectors, self.space.vectors, 1, self.space.metric, rows=among)
        return [self.copies[int(row)] for row in found[:, 0]]

    def own(self, rows: np.ndarray) -> list[str] | None:
        """Return the own reference text of each test entity [n]; None where the corpus lacks one."""
        if not self.owned:
            for example in self.corpus.examples(TEST, self.task.name):
                self.owned.setdefault(example.slots[self.slot][1], example.target)
        known = [self.owned.get(int(row)) for row in rows]
        return None if None in known else known  # type: ignore[return-value]

    def consistency(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """Return SC [Q] of texts about vectors [Q, D]."""
        centre = self.readback.centre
        return cosines(self.readback(texts) - centre, np.asarray(vectors, np.float32) - centre)

    def keep(
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
        """Keep what was said of vectors [Q, D], with where they lie on the map; `more` has an entry for each too."""
        where = {"curve": curve, "space": self.space.name, "task": self.task.name, "condition": condition, "x": x}
        for i, place in enumerate(self.plane.place(vectors).tolist()):
            row = {**where, "subject": subjects[i], "answer": texts[i], "sc": round(float(consistency[i]), 4)}
            self.told.append({**row, "at": place, **{key: values[i] for key, values in more.items()}})

    # ---- rows

    def row(
        self, curve: str, metric: str, condition: str, x: float, values: np.ndarray, subject: str | None = None
    ) -> Row:
        """Return one row: the mean of values [n] with its interval; values that are not defined are left out."""
        values = values[np.isfinite(values)]
        found = estimate(len(values), [mean_of(values)], seed=self.seed) if len(values) else NONE
        return self.figure(curve, metric, condition, x, found, subject)

    def figure(
        self, curve: str, metric: str, condition: str, x: float, found: Estimate, subject: str | None = None
    ) -> Row:
        """Return the row of a figure."""
        where = {"curve": curve, "space": self.space.name, "task": self.task.name, "subject": subject}
        return {**where, "metric": metric, "condition": condition, "x": x, **found._asdict()}

    def joint(self, n: int, statistics: Sequence[Statistic], combine: Any) -> Estimate:
        """Return a function of several statistics of the same n entities with its interval."""
        return estimate(n, statistics, combine, seed=self.seed)

    def supported(self, curve: str, condition: str, x: float, vectors: np.ndarray, subject: str | None) -> list[Row]:
        """Return mean percentile and share of `far` and `central` vectors."""
        found = self.space.supports(vectors)
        rows = [self.row(curve, "percentile", condition, x, np.array([s.percentile for s in found]), subject)]
        for verdict in ("far", "central"):
            share = np.array([float(s.verdict == verdict) for s in found])
            rows.append(self.row(curve, verdict, condition, x, share, subject))
        return rows


def values_of(value: Any) -> set[str]:
    """Return the values of an attribute as a set; of a number, nothing."""
    return set(value) if isinstance(value, list) else {value} if isinstance(value, str) else set()


def subjects(corpus: Corpus, names: Sequence[str] | None) -> list[Task]:
    """Return the named tasks, or the first of each space that is about one entity and states attributes.

    Raises:
        EvaluationError: a named task is of another kind, or there is none of this kind.
    """
    fits = [t for t in corpus.suite.tasks if len(t.slots) == 1 and t.about in t.slots and t.states]
    if names:
        wrong = [name for name in names if name not in {t.name for t in fits}]
        if wrong:
            raise EvaluationError(
                f"task {wrong[0]!r} has no curves: it must be about one entity and state attributes, as "
                f"{', '.join(t.name for t in fits) or 'no task here'} does"
            )
        return [t for t in fits if t.name in names]
    first: dict[str, Task] = {}
    for task in fits:
        first.setdefault(next(iter(task.slots.values())), task)
    if not first:
        raise EvaluationError("no task of the corpus is about one entity and states attributes: there are no curves")
    return list(first.values())
