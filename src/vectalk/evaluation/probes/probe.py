"""The fixed probe: how well an attribute can be read from the vector alone, without a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.metrics.bootstrap import whole
from vectalk.evaluation.metrics.rows import attribute_score
from vectalk.evaluation.probes.nets import Target, fit_ensemble
from vectalk.space.neighbors import nearest
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.tasks.attributes import UNREAD, AttributeReader

CANDIDATES = ("linear", "vote", "mlp")
NEIGHBORS = 15
MOST_ROWS, MOST_VALUES = 50_000, 500  # most training entities and most values of an attribute for a fit
FEWEST = 10  # fewest validation entities with a known value
THRESHOLDS = np.linspace(0.04, 0.72, 35)

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps vectors [Q, D] and excluded rows [Q], one for each vector (-1: none), to scores [Q, C]."""


class Coding:
    """Converts values of an attribute to numbers [N, C], and back."""

    def __init__(self, reader: AttributeReader, known: Sequence[Any]) -> None:
        self.target: Target = reader.kind if reader.kind in ("list", "number") else "category"
        self.classes = [] if self.target == "number" else reader.vocabulary[:MOST_VALUES]
        self.index = {value: i for i, value in enumerate(self.classes)}
        if self.target == "number":
            self.mean, self.scale = float(np.mean(known)), float(np.std(known)) or 1.0
        if self.target == "list":
            self.place = _places(known, self.index)

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Return values as float32 [N, C]: an indicator for each value, or the standardised number."""
        if self.target == "number":
            return ((np.array(values, np.float32) - self.mean) / self.scale)[:, None]
        y = np.zeros((len(values), len(self.classes)), np.float32)
        for row, value in enumerate(values):
            for one in value if isinstance(value, list) else [value]:
                if one in self.index:
                    y[row, self.index[one]] = 1.0
        return y

    def decode(self, scores: np.ndarray, thresholds: np.ndarray | None) -> list[Any]:
        """Return the values for scores [N, C]; a list holds at least its most likely value."""
        if self.target == "number":
            return [float(x) for x in scores[:, 0] * self.scale + self.mean]
        if self.target == "category":
            return [self.classes[i] for i in scores.argmax(1)]
        # In the order of the metadata, so a text written from these values reads like a reference text.
        selected = chosen_values(scores, thresholds)
        return [[self.classes[i] for i in sorted(np.flatnonzero(row), key=lambda i: self.place[i])] for row in selected]


class Probe:
    """Reads one attribute from vectors. `Probe.fit` creates one.

    Attributes:
        reader: the attribute.
        kind: the kind of the attribute.
        name: the candidate with the best validation score.
        validation_score: validation score of this candidate: sample F1, accuracy or Spearman's correlation.
        scores: candidate -> validation score.
    """

    def __init__(
        self, reader: AttributeReader, coding: Coding, name: str, scorer: Scorer, thresholds: np.ndarray | None
    ) -> None:
        self.reader, self.kind, self.name = reader, reader.kind, name
        self._coding, self._scorer, self._thresholds = coding, scorer, thresholds
        self.scores: dict[str, float] = {}

    @property
    def validation_score(self) -> float:
        """The validation score of the best candidate."""
        return self.scores[self.name]

    @classmethod
    def fit(
        cls,
        reader: AttributeReader,
        *,
        seed: int = 0,
        candidates: Sequence[str] = CANDIDATES,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Probe:
        """Fit the candidates on training entities and return the one with the best validation score.

        Args:
            reader: an attribute bound to its space.
            seed: seed of the initial weights of the networks.
            candidates: any of `linear`, `vote` (15 nearest training entities), `mlp` (an ensemble of four).
            progress: called with candidates fitted and candidates in all.

        Raises:
            EvaluationError: the attribute cannot be probed, or is known for too few entities.
        """
        if reader.kind in UNREAD:
            raise EvaluationError(f"attribute {reader.name!r} consists of titles; only facts can be probed")
        train, validation = known_values(reader, TRAIN), known_values(reader, VALIDATION)
        if len(train[0]) < 2 * NEIGHBORS or len(validation[0]) < FEWEST:
            raise EvaluationError(
                f"attribute {reader.name!r} of space {reader.space.name!r} is known for {len(train[0])} training "
                f"and {len(validation[0])} validation entities; a probe needs {2 * NEIGHBORS} and {FEWEST}"
            )
        coding = Coding(reader, train[1])
        best: Probe | None = None
        scores: dict[str, float] = {}
        for number, name in enumerate(candidates):
            progress(number, len(candidates))
            scorer = _scorer(name, reader, coding, train, validation, seed)
            predicted = scorer(reader.space.vectors[validation[0]], np.full(len(validation[0]), -1))
            thresholds, score = tune(reader.kind, coding, predicted, validation[1])
            scores[name] = score
            if best is None or score > scores[best.name]:
                best = cls(reader, coding, name, scorer, thresholds)
        if best is None:
            raise EvaluationError(
                f"no candidates for the probe of {reader.name!r}; allowed are {', '.join(CANDIDATES)}"
            )
        best.scores = scores
        progress(len(candidates), len(candidates))
        return best

    def predict(self, vectors: np.ndarray, exclude: np.ndarray | None = None) -> list[Any]:
        """Return one value (list of strings, string or float) for each vector [Q, D].

        Args:
            vectors: [Q, D] the vectors.
            exclude: [Q] one row for each vector that must not vote (-1: none): a training entity excludes itself.
        """
        vectors = np.asarray(vectors, np.float32)
        exclude = np.full(len(vectors), -1) if exclude is None else np.asarray(exclude)
        return self._coding.decode(self._scorer(vectors, exclude), self._thresholds)


def known_values(reader: AttributeReader, split_name: str) -> tuple[np.ndarray, list[Any]]:
    """Return the rows [n] of a split with a known value, and the values; an even sample of a very large split."""
    rows = reader.space.rows(split_name)
    if len(rows) > MOST_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.int64)]
    reader.prepare(rows.tolist())  # finds the neighbours of all rows at once
    pairs = [(int(row), value) for row in rows if (value := reader.value(int(row))) is not None]
    return np.array([row for row, _ in pairs], np.int64), [value for _, value in pairs]


Known = tuple[np.ndarray, list[Any]]


def _scorer(name: str, reader: AttributeReader, coding: Coding, train: Known, validation: Known, seed: int) -> Scorer:
    space, y = reader.space, coding.encode(train[1])
    if name == "vote":

        def vote(vectors: np.ndarray, exclude: np.ndarray) -> np.ndarray:
            neighbors, _ = nearest(vectors, space.vectors, NEIGHBORS, space.metric, rows=train[0], exclude=exclude)
            return y[np.searchsorted(train[0], neighbors)].mean(axis=1)  # rows of a split are sorted

        return vote
    shapes = {"linear": (0, 1), "mlp": (128, 4)}
    if name not in shapes:
        raise EvaluationError(f"unknown probe {name!r}; allowed are {', '.join(CANDIDATES)}")
    hidden, members = shapes[name]
    x, x_val = (space.normalizer(np.asarray(space.vectors[rows], np.float32)) for rows in (train[0], validation[0]))
    nets = fit_ensemble(
        (x, y), (x_val, coding.encode(validation[1])), coding.target, hidden=hidden, members=members, seed=seed
    )
    return lambda vectors, exclude: nets.scores(space.normalizer(vectors))


# ---- thresholds of lists


def chosen_values(scores: np.ndarray, thresholds: np.ndarray | None) -> np.ndarray:
    """Return which values [N, C] reach their thresholds [C]; the most likely value of each row always does."""
    selected = scores >= (0.5 if thresholds is None else thresholds)
    selected[np.arange(len(scores)), scores.argmax(1)] = True
    return selected


def tune(kind: str, coding: Coding, scores: np.ndarray, true: list[Any]) -> tuple[np.ndarray | None, float]:
    """Return thresholds for a list attribute (else None) and the score on validation."""
    thresholds = None
    if coding.target == "list":
        y = coding.encode(true)
        # With few validation entities, a threshold for each value overfits. So it is used only if it is better on
        # the half of the entities that it was not tuned on.
        halves = [np.arange(start, len(y), 2) for start in (0, 1)]

        def held_out(tune: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
            selected = [chosen_values(scores[b], tune(scores[a], y[a])) for a, b in (halves, halves[::-1])]
            return _f1(np.concatenate(selected), np.concatenate([y[halves[1]], y[halves[0]]]))

        thresholds = max((_one_threshold, _threshold_per_value), key=held_out)(scores, y)
    values = coding.decode(scores, thresholds)
    return thresholds, whole(attribute_score(kind, values, true), len(true))


def _f1(selected: np.ndarray, y: np.ndarray) -> float:
    return float((2 * (selected & (y > 0)).sum(1) / np.maximum(selected.sum(1) + y.sum(1), 1)).mean())


def _one_threshold(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    best = max(THRESHOLDS, key=lambda t: _f1(chosen_values(scores, np.full(y.shape[1], t)), y))
    return np.full(y.shape[1], best)


def _threshold_per_value(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Start with the best common threshold, then tune the threshold of one value at a time, most frequent first."""
    thresholds = _one_threshold(scores, y)
    for value in range(min(y.shape[1], 100)):
        tried = np.repeat(thresholds[None], len(THRESHOLDS), 0)
        tried[:, value] = THRESHOLDS
        results = [_f1(chosen_values(scores, t), y) for t in tried]
        if max(results) > _f1(chosen_values(scores, thresholds), y):
            thresholds = tried[int(np.argmax(results))]
    return thresholds


def _places(known: Sequence[list[str]], index: dict[str, int]) -> np.ndarray:
    """Return the mean relative position [C] of each value in the training lists."""
    total, count = np.zeros(len(index)), np.zeros(len(index))
    for values in known:
        for place, value in enumerate(values):
            if value in index and len(values) > 1:
                total[index[value]] += place / (len(values) - 1)
                count[index[value]] += 1
    return np.divide(total, count, out=np.full(len(index), 0.5), where=count > 0)
