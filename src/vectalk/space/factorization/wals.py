"""Weighted alternating least squares: compute a vector for each item and each user from ratings.

The loss over all pairs of a user u and an item i, with observed pairs O, is

    sum_O w_ui (t_ui - x_u . y_i)^2  +  w0 sum_not_O (x_u . y_i)^2  +  sum_u l_u |x_u|^2 + sum_i l_i |y_i|^2

Given one side, the other is a ridge problem for each row. All rows share one Gram matrix of the
unobserved pairs, so the cost of a row depends only on its own ratings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from vectalk.errors import SpaceError

BATCH_FLOATS = 500_000  # a padded batch of gathered vectors stays near 4 MB, in the processor's cache


@dataclass(frozen=True)
class WalsConfig:
    """Settings of a factorisation.

    Attributes:
        dim: dimension D of the vectors.
        feedback: `implicit`: the target of each observed pair is 1, and the rating is only its weight; `explicit`: the
            target is the rating minus the mean and the biases.
        iterations: passes; each solves all items, then all users.
        l2: strength of the regularisation.
        scale_l2: multiply `l2` by the number of ratings of the row.
        unobserved: weight w0 of the unobserved pairs, whose target is 0. They say much about an item, so 0 gives poor
            vectors from implicit feedback.
        alpha: weight of an observed pair is 1 + alpha * rating, which must be above 0 (implicit feedback only).
        biases: subtract user and item biases from explicit ratings first.
        seed: seed of the random start.
    """

    dim: int = 64
    feedback: Literal["implicit", "explicit"] = "implicit"
    iterations: int = 15
    l2: float = 5.0
    scale_l2: bool = False
    unobserved: float = 0.1
    alpha: float = 0.0
    biases: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.feedback not in ("implicit", "explicit"):
            raise SpaceError(f"feedback must be `implicit` or `explicit`, not {self.feedback!r}")
        for name, least in (("dim", 1), ("iterations", 1), ("unobserved", 0), ("alpha", 0), ("seed", 0)):
            value = getattr(self, name)
            if not value >= least or not np.isfinite(value):
                raise SpaceError(f"{name} must be at least {least}, not {value}")
        if not self.l2 > 0 or not np.isfinite(self.l2):
            raise SpaceError(f"l2 must be above 0, not {self.l2}; without it rare items have no unique vector")
        if self.feedback == "implicit" and self.unobserved == 0:
            raise SpaceError(
                "implicit feedback needs unobserved > 0: otherwise the same vector for all rows fits every 1 perfectly"
            )


@dataclass(frozen=True)
class Factors:
    """The result of a factorisation.

    Attributes:
        items: [I, D] float32.
        users: [U, D] float32.
        item_bias: [I] float32, zeros if biases are off.
        user_bias: [U] float32.
        mean: mean rating (0 for implicit feedback).
        config: the settings of the factorisation.
    """

    items: np.ndarray
    users: np.ndarray
    item_bias: np.ndarray
    user_bias: np.ndarray
    mean: float
    config: WalsConfig

    def fold_in(self, item_index: np.ndarray, rating: np.ndarray) -> np.ndarray:
        """Return the vector [D] of a new user from ratings [n] of items [n], without changing the factors."""
        items, ratings = np.asarray(item_index, np.int64), np.asarray(rating, np.float64)
        user = np.zeros(len(items), np.int64)
        _check(user, items, ratings, 1, len(self.items))
        residual = ratings - self.mean - self.item_bias[items]
        bias = _damped_mean(user, residual, 1) if self.config.biases else np.zeros(1)
        target, weight = _targets(self.config, ratings, residual - bias[user])
        side = _Side(user, items, target, weight, 1)
        return _solve_side(side, self.items.astype(np.float64), self.config)[0].astype(np.float32)

    def scores(self, user_rows: np.ndarray) -> np.ndarray:
        """Return predictions [n, I] of all items for users [n]: ratings, or strengths (implicit feedback)."""
        rows = np.asarray(user_rows)
        return self.users[rows] @ self.items.T + self.mean + self.user_bias[rows][:, None] + self.item_bias

    def summary(self) -> dict[str, Any]:
        """Return the resolved settings and sizes."""
        return {**asdict(self.config), "items": len(self.items), "users": len(self.users), "mean": self.mean}


def wals(
    user_index: np.ndarray,
    item_index: np.ndarray,
    rating: np.ndarray,
    config: WalsConfig | None = None,
    *,
    n_users: int | None = None,
    n_items: int | None = None,
    on_iteration: Callable[[int, float], None] | None = None,
) -> Factors:
    """Factorise ratings.

    Args:
        user_index: [n] rows of users, from 0.
        item_index: [n] rows of items, from 0; a pair must not occur twice.
        rating: [n] ratings (for implicit feedback with `alpha` 0 their values do not matter).
        config: the settings.
        n_users: number of users U, if some have no rating.
        n_items: number of items I, if some have no rating.
        on_iteration: called after each iteration with its number, from 1, and the loss.

    Raises:
        SpaceError: the arrays have different lengths, are empty, or hold invalid values.
    """
    config = config or WalsConfig()
    users, items = np.asarray(user_index, np.int64), np.asarray(item_index, np.int64)
    ratings = np.asarray(rating, np.float64)
    n_users = n_users if n_users is not None else int(users.max(initial=-1)) + 1
    n_items = n_items if n_items is not None else int(items.max(initial=-1)) + 1
    _check(users, items, ratings, n_users, n_items)
    mean, user_bias, item_bias = _biases(users, items, ratings, n_users, n_items, config)
    target, weight = _targets(config, ratings, ratings - mean - user_bias[users] - item_bias[items])
    by_item = _Side(items, users, target, weight, n_items)
    by_user = _Side(users, items, target, weight, n_users)
    x = np.random.default_rng(config.seed).standard_normal((n_users, config.dim)) / np.sqrt(config.dim)
    x[by_user.count == 0] = 0.0
    for iteration in range(1, config.iterations + 1):
        # Users come last, so that `fold_in` of a user's own ratings gives the user's own vector.
        y = _solve_side(by_item, x, config)
        x = _solve_side(by_user, y, config)
        if on_iteration is not None:
            on_iteration(iteration, _loss(by_user, x, y, by_item.count, config))
    y, x, item_bias, user_bias = (array.astype(np.float32) for array in (y, x, item_bias, user_bias))
    return Factors(y, x, item_bias, user_bias, mean, config)


class _Side:
    """The observations of one side, sorted by row: those of row r are the `count[r]` from `start[r]` on."""

    def __init__(self, row: np.ndarray, other: np.ndarray, target: np.ndarray, weight: np.ndarray, rows: int):
        order = np.argsort(row, kind="stable")
        self.row, self.other, self.target, self.weight = (
            row[order],
            other[order],
            target[order],
            weight[order],
        )
        self.count = np.bincount(row, minlength=rows)
        self.start = np.concatenate([[0], np.cumsum(self.count)[:-1]])

    def batches(self, dim: int) -> Iterator[np.ndarray]:
        """Yield groups of rows with similar counts, so that a padded batch has little padding."""
        rows = np.argsort(self.count, kind="stable")
        rows = rows[self.count[rows] > 0]
        counts, at = self.count[rows], 0
        while at < len(rows):
            like = int(np.searchsorted(counts, max(counts[at] * 1.15, counts[at] + 1), side="right"))
            longest = counts[like - 1]
            end = min(like, at + max(1, BATCH_FLOATS // int(longest * max(dim, longest if longest < dim else 0))))
            yield rows[at:end]
            at = end


def _solve_side(side: _Side, fixed: np.ndarray, config: WalsConfig) -> np.ndarray:
    """Solve for one side [R, D], given the other [K, D]; rows without observations are zero.

    In the eigenbasis of the Gram matrix the part that all rows share is diagonal. A row with fewer
    observations n than dimensions is then solved as an n x n system (Woodbury), the others as D x D.
    """
    dim = fixed.shape[1]
    values, basis = np.linalg.eigh(config.unobserved * (fixed.T @ fixed))
    rotated, values = fixed @ basis, np.maximum(values, 0.0)
    solved = np.zeros((len(side.count), dim))
    for rows in side.batches(dim):
        longest = int(side.count[rows].max())
        slot = np.arange(longest)
        real = slot < side.count[rows][:, None]
        at = np.where(real, side.start[rows][:, None] + slot, 0)
        extra = np.where(real, side.weight[at] - config.unobserved, 0.0)  # [B, L] weight beyond the shared one
        pull = np.where(real, side.weight[at] * side.target[at], 0.0)
        v = rotated[side.other[at]]  # [B, L, D]
        shared = values + _strength(config, side.count[rows])[:, None]  # [B, D]
        if longest < dim:
            scaled = v / shared[:, None]
            kernel = extra[:, :, None] * (scaled @ v.transpose(0, 2, 1))
            kernel[:, slot, slot] += 1.0
            dual = np.linalg.solve(kernel, pull[:, :, None])
            solved[rows] = (scaled.transpose(0, 2, 1) @ dual)[:, :, 0]
        else:
            normal = (v * extra[:, :, None]).transpose(0, 2, 1) @ v
            normal[:, np.arange(dim), np.arange(dim)] += shared
            solved[rows] = np.linalg.solve(normal, v.transpose(0, 2, 1) @ pull[:, :, None])[:, :, 0]
    return solved @ basis.T


def _strength(config: WalsConfig, count: np.ndarray) -> np.ndarray:
    return config.l2 * (count if config.scale_l2 else np.ones(len(count)))


def _targets(config: WalsConfig, rating: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and weights [n] of the observed pairs."""
    if config.feedback == "explicit":
        return residual, np.ones(len(rating))
    weight = 1.0 + config.alpha * rating
    if len(weight) and weight.min() <= 0:
        lowest = rating[weight.argmin()]
        raise SpaceError(
            f"a rating of {lowest:g} has the weight 1 + alpha * rating = {weight.min():g}, and a weight must be above "
            f"0; lower alpha ({config.alpha:g}), or leave out values that are not ratings, e.g. with --null {lowest:g}"
        )
    return np.ones(len(rating)), weight


def _loss(side: _Side, x: np.ndarray, y: np.ndarray, item_count: np.ndarray, config: WalsConfig) -> float:
    predicted = np.einsum("nd,nd->n", x[side.row], y[side.other])
    observed = side.weight @ np.square(side.target - predicted)
    unobserved = config.unobserved * (np.sum((x.T @ x) * (y.T @ y)) - np.square(predicted).sum())
    penalty = _strength(config, side.count) @ np.square(x).sum(1) + _strength(config, item_count) @ np.square(y).sum(1)
    return float(observed + unobserved + penalty)


def _biases(
    users: np.ndarray, items: np.ndarray, ratings: np.ndarray, n_users: int, n_items: int, config: WalsConfig
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the mean rating and damped biases of users [U] and items [I]; those of users are computed last."""
    user_bias, item_bias = np.zeros(n_users), np.zeros(n_items)
    if config.feedback == "implicit":
        return 0.0, user_bias, item_bias
    mean = float(ratings.mean())
    for _ in range(10 if config.biases else 0):
        item_bias = _damped_mean(items, ratings - mean - user_bias[users], n_items)
        user_bias = _damped_mean(users, ratings - mean - item_bias[items], n_users)
    return mean, user_bias, item_bias


def _damped_mean(row: np.ndarray, values: np.ndarray, rows: int, damping: float = 5.0) -> np.ndarray:
    return np.bincount(row, values, minlength=rows) / (np.bincount(row, minlength=rows) + damping)


def _check(users: np.ndarray, items: np.ndarray, ratings: np.ndarray, n_users: int, n_items: int) -> None:
    if not len(users) == len(items) == len(ratings):
        raise SpaceError(
            f"{len(users)} users, {len(items)} items and {len(ratings)} ratings; the numbers must be equal"
        )
    if not len(ratings):
        raise SpaceError("there are no ratings to factorise")
    for name, index, size in (("user", users, n_users), ("item", items, n_items)):
        if index.min() < 0 or index.max() >= size:
            raise SpaceError(f"{name} rows must be from 0 to {size - 1}, but are from {index.min()} to {index.max()}")
    if not np.isfinite(ratings).all():
        raise SpaceError(f"rating {int(np.flatnonzero(~np.isfinite(ratings))[0])} is not a finite number")
    pair = np.sort(users * n_items + items)
    if (pair[1:] == pair[:-1]).any():
        user, item = divmod(int(pair[1:][pair[1:] == pair[:-1]][0]), n_items)
        raise SpaceError(f"user {user} rated item {item} more than once; keep one rating for each pair")
