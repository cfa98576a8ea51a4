"""Neighbours are exact, support tells near from far, and the normaliser bears real tables."""

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vectalk.errors import SpaceError
from vectalk.space import Point, VectorSpace, neighbors, normalizer, support
from vectalk.space.normalizer import Normalizer
from vectalk.space.support import Calibration
from worlds import make_films

# ---- neighbours


def brute_force(queries: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    q, v = queries.astype(np.float64)[:, None], vectors.astype(np.float64)[None]
    if metric == "euclidean":
        return -np.sqrt(np.square(q - v).sum(-1))
    dot = (q * v).sum(-1)
    return dot if metric == "dot" else dot / np.linalg.norm(q, axis=-1) / np.linalg.norm(v, axis=-1)


@pytest.mark.parametrize("metric", neighbors.METRICS)
@pytest.mark.parametrize("block", [8 * 7, 8 * 64, 10**7])
@pytest.mark.parametrize("restricted", [False, True])
def test_neighbors_equal_brute_force(monkeypatch, metric: str, block: int, restricted: bool) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_FLOATS", block)
    rng = np.random.default_rng(0)
    vectors, queries = rng.standard_normal((150, 8)).astype(np.float32), rng.standard_normal((6, 8))
    rows = np.sort(rng.permutation(150)[:60]) if restricted else np.arange(150)
    found, scores = neighbors.nearest(queries, vectors, 9, metric, rows=rows if restricted else None)
    wanted = brute_force(queries, vectors[rows], metric)
    order = np.argsort(-wanted, axis=1)[:, :9]
    np.testing.assert_array_equal(found, rows[order])
    np.testing.assert_allclose(scores, np.take_along_axis(wanted, order, 1), atol=1e-4)


@pytest.mark.parametrize("block", [16, 10**6])
def test_duplicates_come_in_order_of_their_rows(monkeypatch, block: int) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_FLOATS", block)
    vectors = np.tile(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), (10, 1))
    found, _ = neighbors.nearest(np.array([[1.0, 0.0]]), vectors, 4, "euclidean")
    assert found[0].tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("block", [40, 10**6])
@pytest.mark.parametrize("metric", neighbors.METRICS)
def test_of_many_that_are_equal_the_first_come_first(monkeypatch, metric: str, block: int) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_FLOATS", block)
    vectors = np.repeat(np.array([[1.0, 1.0], [2.0, 0.0], [-1.0, 0.0]], np.float32), 50, axis=0)[::-1].copy()
    found, scores = neighbors.nearest(np.array([[2.0, 0.0], [-1.0, 0.0]]), vectors, 7, metric)
    assert found.tolist() == [list(range(50, 57)), list(range(7))]
    assert (scores == scores[:, :1]).all()
    found, _ = neighbors.nearest(np.array([[2.0, 0.0]]), vectors, 53, metric)
    assert found[0].tolist() == list(range(50, 103))


@pytest.mark.parametrize("queries", [1, 6])
def test_euclidean_distances_are_right_far_from_the_origin(queries: int) -> None:
    rng = np.random.default_rng(0)
    vectors = (1000 + rng.standard_normal((500, 32))).astype(np.float32)
    asked = (1000 + rng.standard_normal((queries, 32))).astype(np.float32)
    wanted = brute_force(asked, vectors, "euclidean")
    order = np.argsort(-wanted, axis=1)[:, :9]
    found, scores = neighbors.nearest(asked, vectors, 9, "euclidean")
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(scores, np.take_along_axis(wanted, order, 1), rtol=1e-5)


def test_an_entity_is_not_its_own_neighbor() -> None:
    space = make_films()
    rows, similarities = space.neighbors(space[5], 10)
    assert 5 not in rows
    assert len(rows) == 10
    assert (np.diff(similarities) <= 0).all()
    assert space.neighbors(space[5].values, 1)[0][0, 0] == 5
    rows, _ = space.neighbors(space[5], 10, split_name="test")
    assert set(rows) <= set(space.rows("test"))
    assert len(space.neighbors(space[5], 1000)[0]) == 399


# ---- support


@pytest.mark.parametrize("metric", neighbors.METRICS)
def test_support_of_entities_is_spread_evenly(metric: str) -> None:
    space = make_films(metric=metric)
    percentiles = [space.support(space[int(row)]).percentile for row in space.rows("train")]
    assert 40 < np.mean(percentiles) < 60
    verdicts = [space.support(space[int(row)]).verdict for row in space.rows("train")]
    assert np.mean([verdict == "real" for verdict in verdicts]) > 0.85


def test_far_points_are_far_and_averages_central() -> None:
    space = make_films(metric="euclidean")
    assert space.support(Point(np.full(8, 50.0), space)).verdict == "far"
    middle = Point(space.normalizer.mean, space, "the middle", None, ("a", "b"))
    found = space.support(middle)
    assert found.verdict == "central"
    assert found.centre < 5
    assert "a blend of a, b" in str(found)
    cluster = np.asarray(space.vectors[space.where("kind", 0, "train")]).mean(0)
    assert space.supports(cluster)[0].verdict != "far"
    assert space.supports(cluster)[0].isolation < 1  # nearer to its neighbours than they are to theirs


@pytest.mark.parametrize("metric", neighbors.METRICS)
def test_unseen_entities_look_real_and_coordinates_mixed_up_do_not(metric: str) -> None:
    """Shuffled coordinates have the right mean and spread in each dimension, but do not go together."""
    space = make_films(2000, metric=metric)
    test = np.array(space.vectors[space.rows("test")])
    rng = np.random.default_rng(1)
    mixed = np.column_stack([rng.permutation(column) for column in test.T])
    unseen, nobody = space.supports(test), space.supports(mixed)
    assert np.mean([s.verdict == "far" for s in unseen]) < 0.12
    scores = [s.percentile for s in (*unseen, *nobody)]
    assert roc_auc_score([0] * len(unseen) + [1] * len(nobody), scores) > 0.95


def test_support_measures_density_where_the_vector_lies() -> None:
    """A gap that is usual in a thin region is far in a dense one."""
    rng = np.random.default_rng(0)
    dense, thin = 0.1 * rng.standard_normal((500, 3)), 10 + 3 * rng.standard_normal((500, 3))
    vectors = np.concatenate([dense, thin])
    table = {"id": [str(n) for n in range(1000)], "split": ["train"] * 1000}
    space = VectorSpace.create("thing", vectors, table, metric="euclidean")
    step = np.array([0.8, 0.8, 0.0])
    beside_dense, beside_thin = space.supports(np.stack([step, 10 + step]))
    assert beside_dense.isolation > 5
    assert beside_thin.isolation < 1.5


def test_support_is_read_not_fitted_again(tmp_path, monkeypatch) -> None:
    space = make_films().save(tmp_path / "films")
    monkeypatch.setattr(Calibration, "fit", None)
    assert space.support(space[0]).entity
    (tmp_path / "films" / "support.safetensors").write_bytes(b"no")
    with pytest.raises(SpaceError, match="remove it, or make the space again"):
        VectorSpace.load(tmp_path / "films").supports(space.vectors[:1])


def test_anchors_are_a_sample_of_training_entities(monkeypatch) -> None:
    monkeypatch.setattr(support, "ANCHORS", 100)
    space = make_films(800)
    assert len(space.calibration.rows) == 100
    assert np.isin(space.calibration.rows, space.rows("train")).all()
    verdicts = [s.verdict for s in space.supports(space.vectors[space.rows("test")])]
    assert np.mean([verdict == "far" for verdict in verdicts]) < 0.2


def test_wide_tiny_and_flat_spaces_have_supports(monkeypatch) -> None:
    monkeypatch.setattr(support, "MOST_DIMS", 16)
    rng = np.random.default_rng(0)
    for vectors in (rng.standard_normal((60, 40)), rng.standard_normal((2, 3)), np.ones((30, 4)), np.ones((1, 2))):
        table = {"id": [str(n) for n in range(len(vectors))], "split": ["train"] * len(vectors)}
        space = VectorSpace.create("thing", vectors, table)
        found = space.supports(np.concatenate([vectors[:1], 100 + vectors[:1]]))
        assert all(np.isfinite([s.percentile, s.centre, s.isolation, s.angle]).all() for s in found)


def test_vectors_of_another_dimension_are_refused() -> None:
    with pytest.raises(SpaceError, match="have 8 dimensions"):
        make_films().supports(np.zeros((2, 5)))


# ---- the normaliser


def test_a_constant_dimension_is_only_centred() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32) * [1.0, 5.0, 0.0] + [0, 2, 7]
    normalizer = Normalizer.fit(vectors.astype(np.float32))
    normal = normalizer(vectors)
    np.testing.assert_allclose(normal[:, :2].std(0), 1.0, rtol=1e-4)
    np.testing.assert_allclose(normal[:, 2], 0.0, atol=1e-5)
    np.testing.assert_allclose(normalizer.inverse(normal), vectors, rtol=1e-5, atol=1e-5)


def test_the_normaliser_is_fitted_in_blocks(monkeypatch) -> None:
    vectors = (1000 + np.random.default_rng(0).standard_normal((20_003, 16))).astype(np.float32)
    rows = np.arange(0, len(vectors), 3)
    monkeypatch.setattr(normalizer, "BLOCK_FLOATS", 16 * 500)
    tracemalloc.start()
    fitted = Normalizer.fit(vectors, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < vectors[rows].nbytes / 2
    wanted = vectors[rows].astype(np.float64)
    np.testing.assert_allclose(fitted.mean, wanted.mean(0), rtol=1e-6)
    np.testing.assert_allclose(fitted.scale, wanted.std(0), rtol=1e-6)


def test_the_normaliser_knows_training_entities_only() -> None:
    space = make_films()
    train = np.asarray(space.vectors)[space.rows("train")]
    np.testing.assert_allclose(space.normalizer.mean, train.mean(0), atol=1e-5)
    np.testing.assert_allclose(space.normalizer.scale, train.std(0), rtol=1e-4)


def test_an_entity_is_called_one_whatever_its_percentile() -> None:
    space = make_films(300)
    said = {str(space.support(space[row])) for row in range(300)}
    assert all(text.startswith("a real entity") for text in said)
    assert any("unusually close" in text for text in said)
    assert "blend of" in str(space.support(space.point("lerp('1001', '1002', 0.5)")))
