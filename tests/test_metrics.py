"""Scores and intervals: against values worked out by hand, by scipy, or known by construction."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from vectalk.errors import EvaluationError
from vectalk.evaluation.metrics.bootstrap import (
    Resamples,
    corrected,
    correlation,
    difference,
    divided,
    estimate,
    joined,
    mean_of,
    rank_correlation,
    resamples,
    whole,
)
from vectalk.evaluation.metrics.rows import attribute_score, cosines, retrieval_ranks, sample_f1


def drawn(rows: np.ndarray) -> Resamples:
    """Resamples of chosen rows [B, n]."""
    return Resamples(rows, np.stack([np.bincount(r, minlength=rows.shape[1]) for r in rows]).astype(float))


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
    assert whole(attribute_score("decade", ["x", "y", None, "x"], ["x", "x", "x", "x"]), 4) == 0.5
    assert whole(attribute_score("list", [["a"], ["b"], [], ["a"]], [["a"]] * 4), 4) == 0.5
    assert whole(attribute_score("number", [1.0, 2.0, 3.0, 9.0], [1.0, 2.0, 3.0, 4.0]), 4) == pytest.approx(1)
    # A number that is not said counts as the default, here the middle of the order.
    said = attribute_score("number", [1.0, None, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], 2.5)
    assert whole(said, 4) == pytest.approx(1)
    # Where the truth is not known, nothing is right or wrong.
    assert whole(attribute_score("decade", ["x", "y", "x"], ["x", None, "y"]), 3) == 0.5
    assert whole(attribute_score("number", [1.0, 9.0, 2.0], [1.0, None, 2.0]), 3) == pytest.approx(1)


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 5, 40).astype(float)  # with ties
    b = a + rng.standard_normal(40)
    sample = drawn(rng.integers(0, 40, (7, 40)))
    wanted = [spearmanr(a[r], b[r]).statistic for r in sample.rows]
    np.testing.assert_allclose(rank_correlation(a, b)(sample), wanted)
    assert rank_correlation(np.ones(40), b)(sample).tolist() == [0.0] * 7
    a[:10] = np.nan
    known = [r[r >= 10] for r in sample.rows]
    np.testing.assert_allclose(rank_correlation(a, b)(sample), [spearmanr(a[r], b[r]).statistic for r in known])


def test_correlation_of_matrices_is_that_of_the_entries_drawn() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20, 6))
    b = a + rng.standard_normal((20, 6))
    sample = drawn(rng.integers(0, 20, (5, 20)))
    wanted = [np.corrcoef(a[r].ravel(), b[r].ravel())[0, 1] for r in sample.rows]
    np.testing.assert_allclose(correlation(a, b)(sample), wanted)


def test_means_are_those_of_the_rows_drawn() -> None:
    values = np.random.default_rng(0).standard_normal(30)
    (sample,) = resamples(30)
    np.testing.assert_allclose(mean_of(values)(sample), values[sample.rows].mean(1))
    values[:9] = np.nan
    np.testing.assert_allclose(mean_of(values)(sample), np.nanmean(values[sample.rows], axis=1))
    assert np.isnan(whole(mean_of(np.full(30, np.nan)), 30))


def test_resamples_come_in_blocks_where_there_are_many() -> None:
    blocks = list(resamples(5000, 1))
    assert len(blocks) > 2
    assert sum(len(block.rows) for block in blocks) == 2000
    assert all((block.counts.sum(1) == 5000).all() for block in blocks)
    assert not np.array_equal(blocks[0].rows, blocks[1].rows)


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
    found = estimate(200, [joined(difference, mean_of(a + 0.1), mean_of(a))])
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
    np.testing.assert_array_equal(divided(np.ones(2), np.array([2.0, 0.0])), [0.5, np.nan])


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
