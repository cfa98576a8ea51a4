"""Shifts along concepts: answers should gain or lose the value of the concept, and keep their other values."""

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
FEWEST = 20  # training entities with the value that a concept needs
ALL = "all concepts"


@dataclass(frozen=True)
class Shifted:
    """Which values the answers state along one concept.

    Attributes:
        target: [steps, entities] 1 if the value of the concept is stated, else 0.
        others: [steps, entities, values] 1 if another value is stated, else 0.
        score: [steps, entities] concept score of the vector that each text reads back as; None if there are no texts.
    """

    target: np.ndarray
    others: np.ndarray
    score: np.ndarray | None

    @property
    def spearman(self) -> np.ndarray:
        """Rank correlation [entities] of step and target; 0 if the target never changes."""
        return _step_correlations(self.target)

    @property
    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Change [entities] of the target from the first to the last step, and mean absolute change of the others."""
        other = np.abs(self.others[-1] - self.others[0])
        return self.target[-1] - self.target[0], other.mean(axis=1) if other.shape[1] else np.full(len(other), np.nan)


def shifts(one: Subject, count: int, entities: int) -> tuple[list[Row], list[str]]:
    """Shift test entities along concepts, and along random concepts with the same number of positive entities.

    Metrics:
        `target`: share of answers that state the value of the concept.
        `target_change`: `target` minus `target` at step 0.
        `other_change`: share of answers that gained or lost a value, compared with step 0; mean over the other values.
        `spearman`: rank correlation of step and target (0 if the target never changes); mean over entities.
        `target_score`, `score_spearman`: as `target` and `spearman`, for the concept score of the read-back text.
        `target_span`, `other_span`, `ratio`: change from the first to the last step of the target and of the other
            values, and the first of these changes divided by the second.
        `p_value`: how often random concepts reach the `spearman` of the concept on any value.
        `q_value`: `p_value` corrected for the number of concepts.
        `spearman_95`: 95 % of the absolute `spearman` values of random concepts are below it.

    The condition `probe` uses the values that the probe reads from the same vectors. The subject `all concepts` holds
    the means over concepts.

    Returns:
        The rows of the curves, and notes on what was not run.
    """
    name = next((n for n in one.task.states if one.readers[n].kind in ("list", "category")), None)
    if name is None:
        return [], [f"task {one.task.name!r} states no attribute of kind list or category, so there are no concepts"]
    reader, rng = one.readers[name], np.random.default_rng(one.seed)
    labelled = np.flatnonzero(known(one.space, reader.column))
    values = reader.vocabulary
    concept_values = [v for v in values if len(one.space.where(reader.column, v, TRAIN)) >= FEWEST][:count]
    if not concept_values:
        return [], [f"no value of {name!r} has {FEWEST} training entities"]
    start = rng.permutation(one.space.rows(TEST))[:entities]
    rows: list[Row] = []
    by_condition: dict[str, dict[str, Shifted]] = {}
    null: list[float] = []
    for value in concept_values:
        has = one.space.where(reader.column, value)
        random_rows = rng.choice(labelled, len(has), replace=False)
        for condition, positive in (("elm", has), ("random", random_rows)):
            examples = Examples(positive, np.setdiff1d(labelled, positive))
            concept = Concept.fit(one.space, examples, name=value, random_concepts=0, bootstraps=0, seed=one.seed)
            stated, read, score = _stated_values(one, reader, concept, start, condition)
            at = values.index(value)
            # The score of a random concept has no meaning.
            results = {condition: _shifted(stated, at, score if condition == "elm" else None)}
            if condition == "random":
                null += [abs(float(_step_correlations(stated[:, :, i]).mean())) for i in range(len(values))]
            elif read is not None:
                results["probe"] = _shifted(read, at, None)
            for each, shifted in results.items():
                by_condition.setdefault(each, {})[value] = shifted
                rows += _steps(one, value, each, shifted) + _whole(one, value, each, [shifted])
            for step in STEPS:
                rows += one.supported("shift", condition, step, _moved(one, concept, start, step), value)
    rows += _significance(one, {v: float(s.spearman.mean()) for v, s in by_condition["elm"].items()}, null)
    for condition, shifted_by in by_condition.items() if len(concept_values) > 1 else ():
        rows += _whole(one, ALL, condition, list(shifted_by.values()))
    return rows, []


def _moved(one: Subject, concept: Concept, start: np.ndarray, step: float) -> np.ndarray:
    return np.asarray(one.space.vectors[start], np.float32) + np.float32(step * concept.deviation) * concept.vector


def _stated_values(
    one: Subject, reader: AttributeReader, concept: Concept, start: np.ndarray, condition: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return the values [steps, entities, values] that answers state, those that the probe reads, and text scores."""
    probe, values = one.facts.probe(one.space.name, reader.name), reader.vocabulary
    titles = [one.space.title(int(row)) for row in start]
    stated: list[list[set[str]]] = []
    read: list[list[set[str]]] = []
    scores = []
    for step in STEPS:
        moved = _moved(one, concept, start, step)
        texts = one.ask(moved, f"{condition} {concept.name}, {step:+d}")
        stated.append([values_of(reader.read(text)) for text in texts])
        scores.append(concept.score(one.readback(texts)))
        concepts = [concept.name] * len(titles)
        one.record("shift", condition, step, titles, moved, texts, one.consistency(texts, moved), concept=concepts)
        if probe is not None:
            read.append([values_of(value) for value in probe.predict(moved)])

    def matrix(steps: list[list[set[str]]]) -> np.ndarray:
        return np.array([[[value in entity for value in values] for entity in step] for step in steps], float)

    return matrix(stated), matrix(read) if read else None, np.array(scores)


def _shifted(stated: np.ndarray, at: int, score: np.ndarray | None) -> Shifted:
    return Shifted(stated[:, :, at], np.delete(stated, at, axis=2), score)


def _step_correlations(series: np.ndarray) -> np.ndarray:
    """Return the rank correlation [entities] of step and series [steps, entities]; 0 if a series is constant."""
    return np.array([spearmanr(STEPS, s).statistic if np.ptp(s) > 0 else 0.0 for s in series.T])


def _steps(one: Subject, value: str, condition: str, shifted: Shifted) -> list[Row]:
    """Return the rows of all steps for one concept and condition."""
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
    """Return the rows that summarise all steps; the values are means over concepts for the same entities."""
    figures = {"spearman": np.mean([s.spearman for s in shifted], axis=0)}
    if all(s.score is not None for s in shifted):
        figures["score_spearman"] = np.mean(
            [_step_correlations(s.score) for s in shifted if s.score is not None], axis=0
        )
    target, other = (np.mean([s.spans[i] for s in shifted], axis=0) for i in range(2))
    rows = [one.row("shift", metric, condition, 0, values, subject) for metric, values in figures.items()]
    rows.append(one.row("shift", "target_span", condition, 0, target, subject))
    rows.append(one.row("shift", "other_span", condition, 0, other, subject))
    if np.isfinite(other).all() and condition != "random":  # a random concept has no target value
        ratio = one.joint(len(target), [mean_of(target), mean_of(other)], divided)
        rows.append(one.figure("shift", "ratio", condition, 0, ratio, subject))
    return rows


def _significance(one: Subject, spearman: dict[str, float], null: list[float]) -> list[Row]:
    """Return the rows of `p_value` and `q_value`, with `spearman` of random concepts on all values as null."""
    p = {value: (1 + sum(n >= own for n in null)) / (1 + len(null)) for value, own in spearman.items()}
    q = dict(zip(p, benjamini_hochberg(list(p.values())), strict=True))
    where = {"curve": "shift", "space": one.space.name, "task": one.task.name, "x": 0}
    figures = [(value, metric, "elm", of[value]) for metric, of in (("p_value", p), ("q_value", q)) for value in of]
    figures.append((ALL, "spearman_95", "random", float(np.percentile(null, 95))))
    return [
        {
            **where,
            "subject": subject,
            "metric": metric,
            "condition": condition,
            "value": value,
            "low": None,  # not a mean over entities, so there is no interval
            "high": None,
            "n": len(null),
        }
        for subject, metric, condition, value in figures
    ]
