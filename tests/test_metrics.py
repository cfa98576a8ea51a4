"""Scores and intervals: against values worked out by hand, by scipy, or known by construction."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from vectalk.errors import EvaluationError
from vectalk.evaluation.metrics import (
    attribute_score,
    corrected,
    cosines,
    distinct_share,
    estimate,
    mean_of,
    rank_correlation,
    retrieval_ranks,
    sample_f1,
)


@pytest.mark.parametrize(
    ("said", "true", "score"),
    [
        (["a"], ["a"], 1.0),
        (["a", "b"], ["a"], 2 / 3),
        (["a", "b"], ["c"], 0.0),
        ([], ["a"], 0.0),
        (None, ["a"], 0.0),
        (["a", "a"], ["a"], 1.0),
        ([], [], 1.0),
    ],
)
def test_sample_f1(said: list[str] | None, true: list[str], score: float) -> None:
    assert sample_f1(said, true) == pytest.approx(score)


def test_scores_by_kind() -> None:
    every = np.arange(4)[None]
    assert attribute_score("decade", ["x", "y", None, "x"], ["x", "x", "x", "x"])(every)[0] == 0.5
    assert attribute_score("list", [["a"], ["b"], [], ["a"]], [["a"]] * 4)(every)[0] == 0.5
    assert attribute_score("number", [1.0, 2.0, 3.0, 9.0], [1.0, 2.0, 3.0, 4.0])(every)[0] == pytest.approx(1)
    # A number that is not said counts as the default, here the middle of the order.
    said = attribute_score("number", [1.0, None, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], 2.5)
    assert said(every)[0] == pytest.approx(1)


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 5, 40).astype(float)  # with ties
    b = a + rng.standard_normal(40)
    rows = rng.integers(0, 40, (7, 40))
    wanted = [spearmanr(a[r], b[r]).statistic for r in rows]
    np.testing.assert_allclose(rank_correlation(a, b)(rows), wanted)
    assert rank_correlation(np.ones(40), b)(rows).tolist() == [0.0] * 7


def test_interval_of_a_joint_ratio_covers_the_truth() -> None:
    """0.5 = (0.6 - 0.3) / (0.9 - 0.3), with scores of the same entities, in about 95 of 100 draws."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        ease = rng.random(120)  # makes the three scores of an entity go together
        score, floor, ceiling = ((0.5 * ease + 0.5 * rng.random(120) - 0.5) * 0.4 + p for p in (0.6, 0.3, 0.9))
        found = estimate(120, [mean_of(score), mean_of(floor), mean_of(ceiling)], corrected)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.5 <= found.high
    assert 51 <= covered <= 60


def test_joint_resampling_is_tighter_than_apart() -> None:
    """What is common to two conditions cancels in their difference."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal(200)
    found = estimate(200, [mean_of(a + 0.1), mean_of(a)], lambda x, y: x - y)
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_estimate_is_seeded_and_counts() -> None:
    values = np.random.default_rng(0).random(50)
    one, two = (estimate(50, [mean_of(values)], seed=s) for s in (1, 2))
    assert one == estimate(50, [mean_of(values)], seed=1)
    assert one != two
    assert one.n == 50
    assert one.value == pytest.approx(values.mean())
    with pytest.raises(EvaluationError, match="no entities"):
        estimate(0, [mean_of(values)])


def test_undefined_ratios_say_so() -> None:
    ones, zeros = mean_of(np.ones(20)), mean_of(np.zeros(20))
    assert estimate(20, [ones, ones, zeros], corrected) == (None, None, None, 20)
    noisy = mean_of(np.random.default_rng(0).standard_normal(20) + 0.2)
    found = estimate(20, [ones, zeros, noisy], corrected)
    assert found.value is not None
    assert found.low is None


def test_corrected() -> None:
    score, floor, ceiling = np.array([0.5, 0.2, 0.9]), np.full(3, 0.2), np.full(3, 0.8)
    np.testing.assert_allclose(corrected(score, floor, ceiling), [0.5, 0.0, 7 / 6])


def test_cosines() -> None:
    a, b = np.array([[1.0, 0], [0, 0], [1, 1]]), np.array([[2.0, 0], [1, 0], [-1, -1]])
    np.testing.assert_allclose(cosines(a, b), [1.0, 0.0, -1.0])


def test_retrieval_ranks() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 8))
    assert retrieval_ranks(3 * vectors, vectors, vectors).tolist() == [1.0] * 30
    assert retrieval_ranks(-vectors, vectors, vectors).tolist() == [30.0] * 30
    # A text that says nothing reads back as zero: all ties, the middle rank, never the first.
    assert retrieval_ranks(np.zeros((30, 8)), vectors, vectors).tolist() == [15.5] * 30
    constant = retrieval_ranks(np.tile(vectors[:1], (30, 1)), vectors, vectors)
    assert sorted(constant) == list(range(1, 31))


def test_distinct_share() -> None:
    assert distinct_share(["a", "a", "b", "c"]) == 0.75
