"""Fit a direction to positives and negatives: the input is vectors, the output is a unit vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from vectalk.concepts.statistics import auc
from vectalk.errors import ConceptError

Method = Literal["logistic", "ridge", "mean", "ranking"]
METHODS: tuple[Method, ...] = get_args(Method)
FOLDS = 5
# Weight of the data relative to the penalty, smallest first; vectors are scaled to a mean square of 1 per dimension.
STRENGTHS = {
    "logistic": (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
    "ridge": (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
    "ranking": (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
}
DEFAULT = 1e-2  # used if there are too few positives for cross-validation
PAIRS = 20_000
STEPS = 25

Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]


def check_method(method: str) -> None:
    """Raise a ConceptError for an unknown method."""
    if method not in METHODS:
        raise ConceptError(f"unknown method {method!r}; allowed are {', '.join(METHODS)}")


def fitter(method: Method, strength: float = DEFAULT, seed: int = 0) -> Fit:
    """Return a function that fits a direction [D] to centred, scaled vectors [n, D] and labels [n].

    A label is True where the entity has the concept.

    `logistic`: the normal of the plane that separates the two sides (Kim et al. 2018). `ridge`: least squares to the
    labels. `mean`: from the mean of the negatives to the mean of the positives. `ranking`: a positive should have a
    higher score than a negative (Goepfert et al. 2022, the simple form). Both sides have the same total weight.
    """

    def logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        ones = np.ones((len(y), 1))  # the weight of this column is the intercept, which has no penalty
        penalty = np.append(np.full(x.shape[1], 1.0 / strength), 0.0)
        return _newton(np.hstack([x, ones]), y, _balanced(y), penalty)[:-1]

    def ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        weight = _balanced(y)
        centred = x - (weight @ x) / weight.sum()
        gram = centred.T @ (weight[:, None] * centred) + np.eye(x.shape[1]) / strength
        return np.linalg.solve(gram, centred.T @ (weight * np.where(y, 1.0, -1.0)))

    def mean(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x[y].mean(axis=0) - x[~y].mean(axis=0)

    def ranking(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(seed)
        above, below = (rng.choice(np.flatnonzero(side), min(PAIRS, 10 * len(y))) for side in (y, ~y))
        pairs, penalty = x[above] - x[below], np.full(x.shape[1], 1.0 / strength)
        return _newton(pairs, np.ones(len(pairs), bool), np.full(len(pairs), len(y) / len(pairs)), penalty)

    methods: dict[str, Fit] = {"logistic": logistic, "ridge": ridge, "mean": mean, "ranking": ranking}
    fit = methods[method]

    def unit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        direction = fit(x, y)
        norm = float(np.linalg.norm(direction))
        if not np.isfinite(norm) or norm < 1e-12:
            raise ConceptError("positives and negatives do not differ: there is no direction between them")
        return direction / norm

    return unit


def _balanced(y: np.ndarray) -> np.ndarray:
    """Return weights [n] that sum to n and give both sides the same weight."""
    return np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum()) * len(y)


def _newton(x: np.ndarray, y: np.ndarray, weight: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Return the coefficients [D] of a logistic regression with weighted rows [n] and a ridge penalty [D] on each.

    Newton's method needs only a few steps. The random concepts need hundreds of fits; scikit-learn is slower here.
    """
    sign, coefficients = np.where(y, 1.0, -1.0), np.zeros(x.shape[1])

    def loss(at: np.ndarray) -> float:
        return float(weight @ np.logaddexp(0.0, -sign * (x @ at)) + penalty @ np.square(at) / 2)

    now = loss(coefficients)
    for _ in range(STEPS):
        miss = 1.0 / (1.0 + np.exp(np.clip(sign * (x @ coefficients), -500, 500)))
        gradient = penalty * coefficients - x.T @ (weight * sign * miss)
        hessian = x.T @ ((weight * miss * (1.0 - miss))[:, None] * x) + np.diag(penalty + 1e-10)
        step, before = np.linalg.solve(hessian, gradient), now
        while (now := loss(coefficients - step)) > before and np.abs(step).max() > 1e-9:
            step = step / 2
        coefficients = coefficients - step
        if before - now < 1e-6 * len(y):
            break
    return coefficients


def choose_strength(method: Method, x: np.ndarray, y: np.ndarray, seed: int = 0) -> float:
    """Return the strength with the best AUC in cross-validation over the training entities of a concept."""
    fewest = int(min(y.sum(), (~y).sum()))
    if method not in STRENGTHS or fewest < FOLDS:
        return DEFAULT
    rng = np.random.default_rng(seed)
    fold = np.empty(len(y), np.int64)
    for side in (y, ~y):  # as many positives in each fold
        fold[side] = rng.permutation(np.arange(side.sum()) % FOLDS)
    scores = {}
    for strength in STRENGTHS[method]:
        fit = fitter(method, strength, seed)
        held_out = [(fit(x[fold != f], y[fold != f]), fold == f) for f in range(FOLDS)]
        scores[strength] = float(np.mean([auc(x[at] @ direction, y[at]) for direction, at in held_out]))
    return max(scores, key=lambda strength: (scores[strength], -strength))
