"""Factorisation: every solve equals its normal equations, and nothing depends on luck."""

from itertools import pairwise

import numpy as np
import pytest

from vectalk.errors import SpaceError
from vectalk.space.factorization.wals import Factors, WalsConfig, wals

CONFIGS = [
    WalsConfig(dim=4, iterations=3, l2=0.5),
    WalsConfig(dim=4, iterations=3, l2=0.5, unobserved=1.0, alpha=2.0),
    WalsConfig(dim=4, iterations=3, l2=0.1, scale_l2=True),
    WalsConfig(dim=4, iterations=3, l2=0.3, feedback="explicit", unobserved=0.0),
    WalsConfig(dim=4, iterations=3, l2=0.3, feedback="explicit", unobserved=0.2, biases=False),
    WalsConfig(dim=4, iterations=3, l2=0.3, feedback="explicit", unobserved=0.0, scale_l2=True),
]


def small_ratings(users: int = 30, items: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    seen = rng.random((users, items)) < np.linspace(0.05, 0.7, users)[:, None]  # fewer and more than dim
    seen[np.arange(users), np.arange(users) % items] = True
    user, item = np.nonzero(seen)
    return user, item, rng.integers(1, 11, len(user)) / 2.0


def dense_user_solution(factors: Factors, user: int, data: tuple[np.ndarray, ...]) -> np.ndarray:
    """Solve one user's ridge problem over all items, written out."""
    config, (users, items, ratings) = factors.config, data
    mine = users == user
    y = factors.items.astype(np.float64)
    weight, target = np.full(len(y), config.unobserved), np.zeros(len(y))
    if config.feedback == "implicit":
        weight[items[mine]], target[items[mine]] = 1.0 + config.alpha * ratings[mine], 1.0
    else:
        known = items[mine]
        weight[known] = 1.0
        target[known] = ratings[mine] - factors.mean - factors.user_bias[user] - factors.item_bias[known]
    strength = config.l2 * (mine.sum() if config.scale_l2 else 1.0)
    normal = (y * weight[:, None]).T @ y + strength * np.eye(config.dim)
    return np.linalg.solve(normal, y.T @ (weight * target))


@pytest.mark.parametrize("config", CONFIGS)
def test_a_half_step_equals_the_normal_equations(config: WalsConfig) -> None:
    data = small_ratings()
    factors = wals(*data, config)
    counts = np.bincount(data[0])
    assert counts.min() < config.dim < counts.max()  # both ways of solving are met
    for user in range(len(counts)):
        wanted = dense_user_solution(factors, user, data)
        np.testing.assert_allclose(factors.users[user], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_folding_in_a_users_own_ratings_gives_his_vector(config: WalsConfig) -> None:
    user, item, rating = small_ratings()
    factors = wals(user, item, rating, config)
    for row in (0, 7, 29):
        vector = factors.fold_in(item[user == row], rating[user == row])
        np.testing.assert_allclose(vector, factors.users[row], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_reported_loss_is_the_loss_and_never_rises(config: WalsConfig) -> None:
    user, item, rating = small_ratings()
    losses: list[float] = []
    factors = wals(user, item, rating, config, on_iteration=lambda number, loss: losses.append(loss))
    assert len(losses) == config.iterations
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(losses))
    assert losses[-1] < losses[0]
    x, y = factors.users.astype(np.float64), factors.items.astype(np.float64)
    weight, target = np.full((len(x), len(y)), config.unobserved), np.zeros((len(x), len(y)))
    if config.feedback == "implicit":
        weight[user, item], target[user, item] = 1 + config.alpha * rating, 1.0
    else:
        weight[user, item] = 1.0
        target[user, item] = rating - factors.mean - factors.user_bias[user] - factors.item_bias[item]
    penalties = [
        config.l2 * (np.square(side).sum(1) * (np.bincount(rows) if config.scale_l2 else 1.0)).sum()
        for side, rows in ((x, user), (y, item))
    ]
    whole = (weight * np.square(target - x @ y.T)).sum() + sum(penalties)
    assert losses[-1] == pytest.approx(whole, rel=1e-4)


def test_same_seed_same_vectors_and_another_seed_others() -> None:
    data = small_ratings()
    first, second = (wals(*data, WalsConfig(dim=4, iterations=2, seed=3)) for _ in range(2))
    other = wals(*data, WalsConfig(dim=4, iterations=2, seed=4))
    np.testing.assert_array_equal(first.items, second.items)
    np.testing.assert_array_equal(first.users, second.users)
    assert not np.allclose(first.items, other.items)


def test_order_of_the_ratings_does_not_matter() -> None:
    user, item, rating = small_ratings()
    order = np.random.default_rng(0).permutation(len(user))
    config = WalsConfig(dim=4, iterations=3)
    straight = wals(user, item, rating, config)
    shuffled = wals(user[order], item[order], rating[order], config)
    np.testing.assert_allclose(straight.items, shuffled.items, atol=1e-5)


def test_two_camps_get_two_directions() -> None:
    """Users 0-19 watch items 0-9 only, users 20-39 items 10-19 only: the gaps are filled within the camp."""
    rng = np.random.default_rng(0)
    seen = np.zeros((40, 20), bool)
    seen[:20, :10], seen[20:, 10:] = rng.random((20, 10)) < 0.7, rng.random((20, 10)) < 0.7
    user, item = np.nonzero(seen)
    factors = wals(user, item, np.ones(len(user)), WalsConfig(dim=2, l2=0.5), n_users=40, n_items=20)
    scores = factors.scores(np.arange(40))
    for users, own, foreign in (
        (slice(0, 20), slice(0, 10), slice(10, 20)),
        (slice(20, 40), slice(10, 20), slice(0, 10)),
    ):
        unseen = scores[users, own][~seen[users, own]]
        assert unseen.min() > scores[users, foreign].max()


def test_explicit_ratings_are_predicted_better_than_by_their_mean() -> None:
    rng = np.random.default_rng(1)
    truth = 3.0 + rng.standard_normal((60, 2)) @ rng.standard_normal((2, 40))
    user, item = np.nonzero(rng.random(truth.shape) < 0.5)
    test = rng.random(len(user)) < 0.2
    config = WalsConfig(dim=2, feedback="explicit", unobserved=0.0, l2=0.5)
    factors = wals(user[~test], item[~test], truth[user, item][~test], config, n_users=60, n_items=40)
    held = truth[user, item][test]
    error = np.square(factors.scores(np.arange(60))[user[test], item[test]] - held).mean()
    assert error < 0.2 * held.var()


def test_rows_without_ratings_are_zero() -> None:
    user, item, rating = small_ratings()
    factors = wals(user, item, rating, WalsConfig(dim=4, iterations=2), n_users=32, n_items=23)
    assert not factors.users[30:].any()
    assert not factors.items[20:].any()
    assert factors.users[:30].any(axis=1).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dim": 0}, "dim must be at least 1, not 0"),
        ({"iterations": 0}, "iterations"),
        ({"l2": 0.0}, "l2 must be above 0"),
        ({"unobserved": -0.1}, "unobserved must be at least 0"),
        ({"alpha": float("nan")}, "alpha"),
        ({"feedback": "stars"}, "`implicit` or `explicit`, not 'stars'"),
        ({"unobserved": 0.0}, "implicit feedback needs unobserved > 0"),
    ],
)
def test_wrong_settings_are_named(settings: dict, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        WalsConfig(**settings)


@pytest.mark.parametrize(
    ("user", "item", "rating", "words"),
    [
        ([0, 1], [0, 1], [1.0], "the numbers must be equal"),
        ([], [], [], "no ratings"),
        ([0, -1], [0, 1], [1.0, 2.0], "user rows must be from 0"),
        ([0, 1], [0, 1], [1.0, float("nan")], "rating 1 is not a finite number"),
        ([0, 2, 2], [0, 1, 1], [1.0, 2.0, 3.0], "user 2 rated item 1 more than once"),
    ],
)
def test_wrong_ratings_are_named(user: list, item: list, rating: list, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        wals(np.array(user), np.array(item), np.array(rating))
