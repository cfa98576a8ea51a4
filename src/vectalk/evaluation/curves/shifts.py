"""Shifts along concepts: what a direction names should come and go in the answers, and the rest should stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from vectalk.concepts import Concept
from vectalk.concepts.examples import Examples, known
from vectalk.concepts.statistics import benjamini_hochberg
from vectalk.evaluation.curves.subject import Row, Subject, values_of
from vectalk.evaluation.metrics.bootstrap import divided, mean_of
from vectalk.space.split import TEST, TRAIN
from vectalk.tasks.attributes import AttributeReader

STEPS = tuple(range(-4, 5))
FEWEST = 20  # training entities that have the value of a concept
ALL = "all concepts"


@dataclass(frozen=True)
class Shifted:
    """What was told along one concept.

    Attributes:
        target: [steps, entities] whether the value was stated.
        others: [steps, entities, values] whether each other value was.
        score: [steps, entities] the concept's score of what each text reads back as; None where nothing was written.
    """

    target: np.ndarray
    others: np.ndarray
    score: np.ndarray | None

    @property
    def spearman(self) -> np.ndarray:
        """Rank correlation [entities] of step and target, 0 where the answer never changes."""
        return _follows(self.target)

    @property
    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Change [entities] of the target from first step to last, and of the others, either way, on average."""
        other = np.abs(self.others[-1] - self.others[0])
        return self.target[-1] - self.target[0], other.mean(axis=1) if other.shape[1] else np.full(len(other), np.nan)


def shifts(one: Subject, count: int, entities: int) -> tuple[list[Row], list[str]]:
    """Shift test entities along concepts, and along random concepts of the same size.

    `target`: share of answers that state the concept's value; `target_change`: that share less the one at step 0;
    `other_change`: mean over the other values of how many answers changed, either way, whether they state it;
    `spearman`: mean over entities of the rank correlation of step and target (0 where the answer never changes);
    `target_score` and `score_spearman`: the same of the concept's score of what the text reads back as;
    `target_span`, `other_span`, `ratio`: what changes from the first step to the last, and the one over the other;
    `p_value`: how often the random concepts reach the `spearman` on any value, `q_value`: corrected for the number of
    concepts, `spearman_95`: what 95 % of these stay below, either way. The condition `probe` states what the probe
    reads from the same vectors. The subject `all concepts` has the means over concepts.

    Returns:
        The rows, and notes on what was not run.
    """
    name = next((n for n in one.task.states if one.readers[n].kind in ("list", "category")), None)
    if name is None:
        return [], [f"task {one.task.name!r} states no list or category: there is nothing to shift"]
    reader, rng = one.readers[name], np.random.default_rng(one.seed)
    stated = np.flatnonzero(known(one.space, reader.column))
    values = reader.vocabulary
    wanted = [v for v in values if len(one.space.where(reader.column, v, TRAIN)) >= FEWEST][:count]
    if not wanted:
        return [], [f"no value of {name!r} has {FEWEST} training entities"]
    start = rng.permutation(one.space.rows(TEST))[:entities]
    rows: list[Row] = []
    found: dict[str, dict[str, Shifted]] = {}
    null: list[float] = []
    for value in wanted:
        has = one.space.where(reader.column, value)
        lucky = rng.choice(stated, len(has), replace=False)
        for condition, positive in (("elm", has), ("random", lucky)):
            examples = Examples(positive, np.setdiff1d(stated, positive))
            concept = Concept.fit(one.space, examples, name=value, random_concepts=0, bootstraps=0, seed=one.seed)
            told, read, score = _told(one, reader, concept, start, condition)
            at = values.index(value)
            made = {condition: _of(told, at, score if condition == "elm" else None)}  # a random score means nothing
            if condition == "random":
                null += [abs(float(_follows(told[:, :, i]).mean())) for i in range(len(values))]
            elif read is not None:
                made["probe"] = _of(read, at, None)
            for each, shifted in made.items():
                found.setdefault(each, {})[value] = shifted
                rows += _steps(one, value, each, shifted) + _whole(one, value, each, [shifted])
            for step in STEPS:
                rows += one.supported("shift", condition, step, _moved(one, concept, start, step), value)
    rows += _significance(one, {v: float(s.spearman.mean()) for v, s in found["elm"].items()}, null)
    for condition, shifted_by in found.items() if len(wanted) > 1 else ():
        rows += _whole(one, ALL, condition, list(shifted_by.values()))
    return rows, []


def _moved(one: Subject, concept: Concept, start: np.ndarray, step: float) -> np.ndarray:
    return np.asarray(one.space.vectors[start], np.float32) + np.float32(step * concept.deviation) * concept.vector


def _told(
    one: Subject, reader: AttributeReader, concept: Concept, start: np.ndarray, condition: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return which values [steps, entities, values] answers state and the probe reads, and the texts' scores."""
    probe, values = one.facts.probe(one.space.name, reader.name), reader.vocabulary
    titles = [one.space.title(int(row)) for row in start]
    told: list[list[set[str]]] = []
    read: list[list[set[str]]] = []
    scores = []
    for step in STEPS:
        moved = _moved(one, concept, start, step)
        texts = one.ask(moved, f"{condition} {concept.name}, {step:+d}")
        told.append([values_of(reader.read(text)) for text in texts])
        scores.append(concept.score(one.readback(texts)))
        concepts = [concept.name] * len(titles)
        one.keep("shift", condition, step, titles, moved, texts, one.consistency(texts, moved), concept=concepts)
        if probe is not None:
            read.append([values_of(value) for value in probe.predict(moved)])

    def matrix(found: list[list[set[str]]]) -> np.ndarray:
        return np.array([[[value in stated for value in values] for stated in step] for step in found], float)

    return matrix(told), matrix(read) if read else None, np.array(scores)


def _of(told: np.ndarray, at: int, score: np.ndarray | None) -> Shifted:
    return Shifted(told[:, :, at], np.delete(told, at, axis=2), score)


def _follows(series: np.ndarray) -> np.ndarray:
    """Return the rank correlation [entities] of step and series [steps, entities]; 0 where it is constant."""
    return np.array([spearmanr(STEPS, s).statistic if np.ptp(s) > 0 else 0.0 for s in series.T])


def _steps(one: Subject, value: str, condition: str, shifted: Shifted) -> list[Row]:
    """Return the rows of each step."""
    rows, zero = [], STEPS.index(0)
    for i, step in enumerate(STEPS):
        changed = np.abs(shifted.others[i] - shifted.others[zero])
        other = changed.mean(axis=1) if changed.shape[1] else np.full(len(changed), np.nan)
        figures = {
            "target": shifted.target[i],
            "target_change": shifted.target[i] - shifted.target[zero],
            "other_change": other,
        }
        if shifted.score is not None:
            figures["target_score"] = shifted.score[i]
        rows += [one.row("shift", metric, condition, step, values, value) for metric, values in figures.items()]
    return rows


def _whole(one: Subject, subject: str, condition: str, shifted: list[Shifted]) -> list[Row]:
    """Return the rows of whole shifts, means over concepts of the same entities."""
    figures = {"spearman": np.mean([s.spearman for s in shifted], axis=0)}
    if all(s.score is not None for s in shifted):
        figures["score_spearman"] = np.mean([_follows(s.score) for s in shifted if s.score is not None], axis=0)
    target, other = (np.mean([s.spans[i] for s in shifted], axis=0) for i in range(2))
    rows = [one.row("shift", metric, condition, 0, values, subject) for metric, values in figures.items()]
    rows.append(one.row("shift", "target_span", condition, 0, target, subject))
    rows.append(one.row("shift", "other_span", condition, 0, other, subject))
    if np.isfinite(other).all() and condition != "random":  # whose target is any value: nothing over little
        ratio = one.joint(len(target), [mean_of(target), mean_of(other)], divided)
        rows.append(one.figure("shift", "ratio", condition, 0, ratio, subject))
    return rows


def _significance(one: Subject, spearman: dict[str, float], null: list[float]) -> list[Row]:
    """Return p and q of concepts: how often a random concept moves any value as steadily."""
    p = {value: (1 + sum(n >= own for n in null)) / (1 + len(null)) for value, own in spearman.items()}
    q = dict(zip(p, benjamini_hochberg(list(p.values())), strict=True))
    where = {"curve": "shift", "space": one.space.name, "task": one.task.name, "x": 0}
    found = [(value, metric, "elm", of[value]) for metric, of in (("p_value", p), ("q_value", q)) for value in of]
    found.append((ALL, "spearman_95", "random", float(np.percentile(null, 95))))
    return [
        {
            **where,
            "subject": subject,
            "metric": metric,
            "condition": condition,
            "value": value,
            "low": None,  # no mean over entities, so no interval
            "high": None,
            "n": len(null),
        }
        for subject, metric, condition, value in found
    ]
