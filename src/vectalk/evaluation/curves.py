"""Curves: what answers do along a line between two entities, along a concept, and as a user's ratings come in.

Every figure is a row of `curves.jsonl`: `{curve, space, task, subject, metric, condition, x, value, low, high, n}`, a
mean over pairs, entities or users with its bootstrap 95 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from vectalk.concepts import Concept
from vectalk.concepts.examples import Examples, known
from vectalk.errors import EvaluationError
from vectalk.evaluation.answers import Answers, Generator, Kept, Progress, run_identity, run_path
from vectalk.evaluation.bootstrap import estimate, mean_of
from vectalk.evaluation.cold_start import RatingsOf, folded
from vectalk.evaluation.facts import Facts
from vectalk.evaluation.metrics import cosines, sample_f1
from vectalk.evaluation.plot import page
from vectalk.files import write_json, write_jsonl, write_text
from vectalk.readback import ReadBack
from vectalk.space import VectorSpace
from vectalk.space.neighbors import nearest
from vectalk.space.split import TEST, TRAIN, VALIDATION
from vectalk.tasks import Corpus, Task
from vectalk.tasks.attributes import AttributeReader

ALPHAS = tuple(round(0.1 * i, 1) for i in range(11))
STEPS = tuple(range(-4, 5))
RATINGS = (1, 2, 5, 10, 20, 50)
FEWEST = 20  # training entities that have the value of a concept
Row = dict[str, Any]


def curves(
    generator: Generator,
    corpus: Corpus,
    out: str | Path,
    *,
    tasks: Sequence[str] | None = None,
    pairs: int = 100,
    entities: int = 40,
    concepts: int = 5,
    users: int = 60,
    encoder: str = "tfidf",
    seed: int = 0,
    max_new_tokens: int = 160,
    progress: Progress = lambda what, done, total: None,
) -> list[Row]:
    """Measure the curves of a model and write `curves.jsonl`, `curves.json` and `curves.html`.

    Interrupted, it goes on where it stopped: answers are kept as they come.

    Args:
        generator: what answers, greedily.
        corpus: tasks, reference texts and spaces.
        out: folder of the results.
        tasks: names of tasks about one entity; the first such task of each space when omitted.
        pairs: random pairs of test entities to walk between.
        entities: test entities to shift.
        concepts: concepts to shift along, the commonest values of the first list or category that a task states.
        users: test users whose ratings are folded in one after another, where the space came from a factorisation.
        encoder: text encoder of the read-back.
        seed: decides pairs, samples, random concepts and resamples.
        max_new_tokens: longest answer.
        progress: called with what is going on, how much is done, how much there is.

    Raises:
        EvaluationError: no task is about one entity, or there are too few test entities.
    """
    out, chosen = Path(out), _tasks(corpus, tasks)
    identity, partial = run_identity(generator), out / "curves.partial.jsonl"
    answers = Answers(generator, Kept(partial, progress), identity=identity, max_new_tokens=max_new_tokens)
    facts = Facts(corpus, seed)
    rows: list[Row] = []
    notes: list[str] = []
    for task in chosen:
        one = Subject.of(corpus, task, facts, answers, encoder, seed)
        rows += interpolations(one, pairs)
        found, why = shifts(one, concepts, entities)
        rows, notes = rows + found, notes + why
        ratings = RatingsOf.space(one.space)
        if ratings is not None:
            rows += cold_start(one, ratings, users)
    write_jsonl(out / "curves.jsonl", rows)
    given = {"tasks": [t.name for t in chosen], "pairs": pairs, "entities": entities, "users": users, "seed": seed}
    run = {"path": run_path(generator), "identity": identity}
    write_json(out / "curves.json", {"run": run, **given, "encoder": encoder, "notes": notes})
    write_text(out / "curves.html", page(rows))
    partial.unlink(missing_ok=True)
    return rows


@dataclass(frozen=True)
class Subject:
    """One task about one entity, and all that is needed to judge its answers."""

    corpus: Corpus
    task: Task
    slot: str
    space: VectorSpace
    readers: dict[str, AttributeReader]
    facts: Facts
    answers: Answers
    readback: ReadBack
    references: dict[int, str]
    seed: int

    @classmethod
    def of(cls, corpus: Corpus, task: Task, facts: Facts, answers: Answers, encoder: str, seed: int) -> Subject:
        """Fit the read-back, and keep one reference text of each training entity."""
        slot, name = next(iter(task.slots.items()))
        space, examples = corpus.spaces[name], list(corpus.examples(TRAIN, task.name))
        validation = list(corpus.examples(VALIDATION, task.name))
        readback = ReadBack.fit(space, examples, encoder, about=task.about, validation=validation, seed=seed)
        references: dict[int, str] = {}
        for example in examples:
            references.setdefault(example.slots[slot][1], example.target)
        readers = {a: facts.reader(name, a) for a in task.states}
        return cls(corpus, task, slot, space, readers, facts, answers, readback, references, seed)

    def ask(self, vectors: np.ndarray, what: str) -> list[str]:
        """Return the answers about vectors [Q, D]."""
        asked = [(self.task.prompts[0], {self.slot: (self.space.name, np.asarray(v, np.float32))}) for v in vectors]
        return self.answers(asked, f"{self.task.name}: {what}")

    def copy(self, vectors: np.ndarray) -> list[str]:
        """Return the reference text of the nearest training entity to each vector [Q, D]."""
        among = np.array(sorted(self.references))
        found, _ = nearest(vectors, self.space.vectors, 1, self.space.metric, rows=among)
        return [self.references[int(row)] for row in found[:, 0]]

    def consistency(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """Return SC [Q] of texts about vectors [Q, D]."""
        centre = self.readback.centre
        return cosines(self.readback(texts) - centre, np.asarray(vectors, np.float32) - centre)

    def row(
        self, curve: str, metric: str, condition: str, x: float, values: np.ndarray, subject: str | None = None
    ) -> Row:
        """Return one row: the mean of values [n] with its interval; values that are not defined are left out."""
        values = values[np.isfinite(values)]
        where = {"curve": curve, "space": self.space.name, "task": self.task.name, "subject": subject}
        found = (
            estimate(len(values), [mean_of(values)], seed=self.seed)._asdict()
            if len(values)
            else {"value": None, "low": None, "high": None, "n": 0}
        )
        return {**where, "metric": metric, "condition": condition, "x": x, **found}

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


# ---- between two entities


def interpolations(one: Subject, pairs: int) -> list[Row]:
    """Walk from a to b between random pairs of test entities.

    `sc`: consistency of the answer with the point; `states_a/x`, `states_b/x`: share of the values of attribute x that
    only a (only b) has and that the answer states.
    """
    test, rng = one.space.rows(TEST), np.random.default_rng(one.seed)
    if len(test) < 2:
        raise EvaluationError(f"space {one.space.name!r} has {len(test)} test entities; a walk needs 2")
    ends = np.stack([rng.choice(test, 2, replace=False) for _ in range(pairs)])
    a, b = (np.asarray(one.space.vectors[ends[:, i]], np.float32) for i in range(2))
    true = {
        name: [tuple(values_of(reader.value(int(row))) for row in pair) for pair in ends]
        for name, reader in one.readers.items()
        if reader.kind != "number"
    }
    rows: list[Row] = []
    for alpha in ALPHAS:
        points = (1 - alpha) * a + alpha * b
        texts = {"elm": one.ask(points, f"between pairs, {alpha:g}"), "copy_text": one.copy(points)}
        rows += one.supported("interpolation", "elm", alpha, points, None)
        for condition, said in texts.items():
            rows.append(one.row("interpolation", "sc", condition, alpha, one.consistency(said, points)))
            for name, sides in true.items():
                stated = [values_of(one.readers[name].read(text)) for text in said]
                for side, mine, other in (("a", 0, 1), ("b", 1, 0)):
                    shares = [_share(s, pair[mine] - pair[other]) for s, pair in zip(stated, sides, strict=True)]
                    metric = f"states_{side}/{name}"
                    rows.append(one.row("interpolation", metric, condition, alpha, np.array(shares)))
    return rows


def _share(stated: set[str], wanted: set[str]) -> float:
    return len(stated & wanted) / len(wanted) if wanted else float("nan")


# ---- along a concept


def shifts(one: Subject, count: int, entities: int) -> tuple[list[Row], list[str]]:
    """Shift test entities along concepts, and along random concepts of the same size.

    `target`: share of answers that state the concept's value; `target_change`: that share less the one at step 0;
    `other_change`: mean over the other values of how many answers changed, either way, whether they state it;
    `spearman`: mean over entities of the rank correlation of step and target (0 where the answer never changes). The
    condition `probe` states what the probe reads from the same vectors.
    """
    name = next((n for n in one.task.states if one.readers[n].kind in ("list", "category")), None)
    if name is None:
        return [], [f"task {one.task.name!r} states no list or category: there is nothing to shift"]
    reader, rng = one.readers[name], np.random.default_rng(one.seed)
    stated = np.flatnonzero(known(one.space, reader.column))
    wanted = [v for v in reader.vocabulary if len(one.space.where(reader.column, v, TRAIN)) >= FEWEST][:count]
    if not wanted:
        return [], [f"no value of {name!r} has {FEWEST} training entities"]
    start = rng.permutation(one.space.rows(TEST))[:entities]
    others, rows = reader.vocabulary, []
    for value in wanted:
        has = one.space.where(reader.column, value)
        lucky = rng.choice(stated, len(has), replace=False)
        for condition, positive in (("elm", has), ("random", lucky)):
            examples = Examples(positive, np.setdiff1d(stated, positive))
            concept = Concept.fit(one.space, examples, name=value, random_concepts=0, bootstraps=0, seed=one.seed)
            told = _told(one, reader, concept, start, others, f"{condition} {value}")
            rows += _shifted(one, value, condition, told[0], others.index(value))
            if condition == "elm":
                rows += _shifted(one, value, "probe", told[1], others.index(value)) if told[1] is not None else []
            for step in STEPS:
                moved = _moved(one, concept, start, step)
                rows += one.supported("shift", condition, step, moved, value)
    return rows, []


def _moved(one: Subject, concept: Concept, start: np.ndarray, step: float) -> np.ndarray:
    return np.asarray(one.space.vectors[start], np.float32) + np.float32(step * concept.deviation) * concept.vector


def _told(
    one: Subject, reader: AttributeReader, concept: Concept, start: np.ndarray, values: list[str], what: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which values [steps, entities, values] answers state, and which the probe reads."""
    probe = one.facts.probe(one.space.name, reader.name)
    told: list[list[set[str]]] = []
    read: list[list[set[str]]] = []
    for step in STEPS:
        moved = _moved(one, concept, start, step)
        told.append([values_of(reader.read(text)) for text in one.ask(moved, f"{what}, {step:+d}")])
        if probe is not None:
            read.append([values_of(value) for value in probe.predict(moved)])

    def matrix(found: list[list[set[str]]]) -> np.ndarray:
        return np.array([[[value in stated for value in values] for stated in step] for step in found], float)

    return matrix(told), matrix(read) if read else None


def _shifted(one: Subject, value: str, condition: str, told: np.ndarray, at: int) -> list[Row]:
    """Return the rows of what was told [steps, entities, values] along the concept of value number `at`."""
    rows, zero, target = [], STEPS.index(0), told[:, :, at]
    others = np.delete(told, at, axis=2)
    for i, step in enumerate(STEPS):
        changed = np.abs(others[i] - others[zero])
        other = changed.mean(axis=1) if changed.shape[1] else np.full(len(changed), np.nan)
        for metric, values in (
            ("target", target[i]),
            ("target_change", target[i] - target[zero]),
            ("other_change", other),
        ):
            rows.append(one.row("shift", metric, condition, step, values, value))
    follows = [spearmanr(STEPS, series).statistic if len(set(series)) > 1 else 0.0 for series in target.T]
    rows.append(one.row("shift", "spearman", condition, 0, np.array(follows), value))
    return rows


# ---- as ratings come in


def cold_start(one: Subject, ratings: RatingsOf, users: int) -> list[Row]:
    """Fold test users in from their first ratings alone, and judge the profiles by all that is known of them.

    `sc`: consistency with the vector of all training ratings; `cosine`: of the folded vector with that one; `score/x`:
    F1 or accuracy of attribute x. The last x of each curve, with all ratings, is the user's own vector (`x` is null).
    """
    rng, rows = np.random.default_rng(one.seed), []
    enough = [row for row in one.space.rows(TEST) if len(ratings.of(one.space, int(row))[0]) >= RATINGS[-1]]
    chosen = rng.permutation(enough)[:users]
    if len(chosen) < 2:
        return []
    own = np.asarray(one.space.vectors[chosen], np.float32)
    orders = [rng.permutation(len(ratings.of(one.space, int(row))[0])) for row in chosen]
    for count in (*RATINGS, None):
        vectors = own if count is None else folded(ratings, one.space, chosen, orders, count)
        said = one.ask(vectors, f"{count or 'all'} ratings")
        x = float("inf") if count is None else count
        for condition, texts in (("elm", said), ("copy_text", one.copy(vectors))):
            rows.append(one.row("cold_start", "sc", condition, x, one.consistency(texts, own)))
            for name, reader in one.readers.items():
                if reader.kind == "number":
                    continue
                true = [reader.value(int(row)) for row in chosen]
                scores = [_score(reader.read(text), value) for text, value in zip(texts, true, strict=True)]
                rows.append(one.row("cold_start", f"score/{name}", condition, x, np.array(scores)))
        centre = one.space.normalizer.mean
        rows.append(one.row("cold_start", "cosine", "vector", x, cosines(vectors - centre, own - centre)))
        rows += one.supported("cold_start", "elm", x, vectors, None)
    return [{**row, "x": None} if row["x"] == float("inf") else row for row in rows]


def _score(said: Any, true: Any) -> float:
    if true is None:
        return float("nan")
    return sample_f1(said, true) if isinstance(true, list) else float(said == true)


def _tasks(corpus: Corpus, names: Sequence[str] | None) -> list[Task]:
    """Return the named tasks, or the first of each space that is about one entity."""
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
