"""Ridge regression whose strength is chosen by cross-validation over groups; one Gram matrix a fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

STRENGTHS = tuple(float(x) for x in np.logspace(-3, 3, 13))
FOLDS = 5


class Ridge(NamedTuple):
    """Maps rows x [N, E] to x @ weight + bias [N, D].

    Attributes:
        fold: [N] the fold of each row that it was fitted on.
        without: weight and bias fitted without each fold, where `crossed` is set.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float
    fold: np.ndarray
    without: list[tuple[np.ndarray, np.ndarray]]


def fit_ridge(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    *,
    strengths: Sequence[float] = STRENGTHS,
    folds: int = FOLDS,
    seed: int = 0,
    crossed: bool = False,
) -> Ridge:
    """Fit y [N, D] from x [N, E], the bias unpenalised.

    The strength with the smallest squared error on held-out groups is chosen. The moments of a fold are subtracted
    from those of all rows, so that each row is visited once, and one eigendecomposition a fold serves all strengths.

    Args:
        x: the inputs.
        y: the targets.
        groups: [N] rows of one group are left out together; there must be as many groups as folds.
        strengths: candidate strengths.
        folds: number of folds.
        seed: seed of the assignment of groups to folds.
        crossed: also return the fits without each fold.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    _, group = np.unique(groups, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(group.max() + 1)[group] % folds
    parts = [_Moments.of(x[fold == f], y[fold == f]) for f in range(folds)]
    total = _Moments(*(np.sum(moment, axis=0) for moment in zip(*parts, strict=True)))
    errors = np.zeros(len(strengths))
    rests = [_Moments(*(a - b for a, b in zip(total, part, strict=True))) for part in parts]
    for f, rest in enumerate(rests):
        for i, (weight, bias) in enumerate(rest.solve(strengths)):
            errors[i] += np.square(x[fold == f] @ weight + bias - y[fold == f]).sum()
    best = strengths[int(np.argmin(errors))]
    whole, *without = (_plain(moments.solve([best])[0]) for moments in (total, *(rests if crossed else [])))
    return Ridge(*whole, float(best), fold, without)


def _plain(solved: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = solved
    return np.ascontiguousarray(weight, np.float32), bias.astype(np.float32)


class _Moments(NamedTuple):
    """Number of rows, and sums over them: x, y, x x' and x y'."""

    rows: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> _Moments:
        return cls(np.array(len(x)), x.sum(0), y.sum(0), x.T @ x, x.T @ y)

    def solve(self, strengths: Sequence[float]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return weight and bias for each strength."""
        mean_x, mean_y = self.x / self.rows, self.y / self.rows
        values, basis = np.linalg.eigh(self.xx - self.rows * np.outer(mean_x, mean_x))
        turned = basis.T @ (self.xy - self.rows * np.outer(mean_x, mean_y))
        solutions = []
        for strength in strengths:
            weight = basis @ (turned / (np.maximum(values, 0.0) + strength)[:, None])
            solutions.append((weight, mean_y - mean_x @ weight))
        return solutions
