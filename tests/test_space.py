"""Spaces: what is saved is what is opened, the split is a rule, neighbours and support are exact."""

import difflib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from vectalk.errors import SpaceError, UnknownEntityError
from vectalk.space import Point, VectorSpace, neighbors, normalizer
from vectalk.space.checks import repeated
from vectalk.space.normalizer import Normalizer
from vectalk.space.split import SPLITS, assign_splits
from vectalk.space.titles import LOOKED_AT, closest, title_key


def make(rows: int = 400, dim: int = 8, seed: int = 0, **options) -> VectorSpace:
    rng = np.random.default_rng(seed)
    centers = 3 * rng.standard_normal((5, dim))
    vectors = (centers[np.arange(rows) % 5] + rng.standard_normal((rows, dim))).astype(np.float32)
    table = {
        "id": [str(1000 + n) for n in range(rows)],
        "title": [f"Film {n} ({1950 + n % 70})" for n in range(rows)],
        "kind": [n % 5 for n in range(rows)],
        "genres": [["Drama"] if n % 2 else ["Comedy", "Drama"] if n % 4 else [] for n in range(rows)],
    }
    return VectorSpace.create("film", vectors, table, **options)


# ---- saving and opening


def test_a_saved_space_is_the_same_space(tmp_path: Path) -> None:
    space = make(metric="euclidean", split_by="title", licence="for research")
    opened = space.save(tmp_path / "films")
    for attribute in ("name", "metric", "split_by", "licence", "fingerprint", "split_hash", "dim", "column_names"):
        assert getattr(opened, attribute) == getattr(space, attribute)
    assert len(opened) == len(space)
    np.testing.assert_array_equal(opened.vectors, space.vectors)
    np.testing.assert_array_equal(opened.normalizer.scale, space.normalizer.scale)
    np.testing.assert_array_equal(opened.reference, space.reference)
    assert opened.entities.equals(space.entities)
    opened.verify()


def test_opening_reads_no_vectors(tmp_path: Path) -> None:
    opened = make().save(tmp_path / "films")
    assert isinstance(opened.vectors, np.memmap)
    assert isinstance(opened._entities, Path)


def test_half_precision_stays_half(tmp_path: Path) -> None:
    space = make()
    half = VectorSpace.create("film", space.vectors.astype(np.float16), {"id": [str(n) for n in range(400)]})
    opened = half.save(tmp_path / "half")
    assert opened.vectors.dtype == np.float16
    assert opened[3].values.dtype == np.float32
    opened.verify()


@pytest.mark.parametrize("target", ["vectors", "ids", "split"])
def test_tampering_is_found(tmp_path: Path, target: str) -> None:
    space = make()
    space.save(tmp_path / "films")
    if target == "vectors":
        changed = np.array(space.vectors)
        changed[7, 3] += 1e-3
        np.save(tmp_path / "films" / "vectors.npy", changed)
    else:
        values = space.column("id" if target == "ids" else "split").to_pylist()
        other = next(n for n, value in enumerate(values) if value != values[0])
        values[0], values[other] = values[other], values[0]
        name = "id" if target == "ids" else "split"
        swapped = space.entities.set_column(space.column_names.index(name), name, pa.array(values))
        pa.parquet.write_table(swapped, tmp_path / "films" / "entities.parquet")
    with pytest.raises(SpaceError, match="changed since it was made"):
        VectorSpace.load(tmp_path / "films").verify()


def test_the_fingerprint_is_of_vectors_and_the_split_has_a_hash_of_its_own(tmp_path: Path) -> None:
    by_id, by_title = make(split_by="id"), make(split_by="title")
    assert by_id.fingerprint == by_title.fingerprint
    assert by_id.split_hash != by_title.split_hash
    by_id.save(tmp_path / "films")
    card = json.loads((tmp_path / "films" / "space.json").read_text())
    assert card.pop("split_hash") == by_id.split_hash
    (tmp_path / "films" / "space.json").write_text(json.dumps(card))
    assert VectorSpace.load(tmp_path / "films").split_hash == by_id.split_hash  # one saved before it was stored


def test_a_folder_that_is_no_space(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="no such folder"):
        VectorSpace.load(tmp_path / "nowhere")
    with pytest.raises(SpaceError, match=r"no space\.json"):
        VectorSpace.load(tmp_path)
    make().save(tmp_path / "films")
    card = json.loads((tmp_path / "films" / "space.json").read_text())
    card["dim"] = 9
    (tmp_path / "films" / "space.json").write_text(json.dumps(card))
    with pytest.raises(SpaceError, match="400 x 9"):
        VectorSpace.load(tmp_path / "films")
    (tmp_path / "films" / "vectors.npy").unlink()
    with pytest.raises(SpaceError, match="not a whole space"):
        VectorSpace.load(tmp_path / "films")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def shorten(path: Path) -> None:
    pa.parquet.write_table(pa.parquet.read_table(path).slice(1), path)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("vectors.npy", cut, "films is not a whole space"),
        ("vectors.npy", lambda path: path.write_bytes(b""), "films is not a whole space"),
        ("support.npy", cut, "films is not a whole space"),
        ("entities.parquet", cut, "films is not a whole space"),
        ("entities.parquet", lambda path: path.unlink(), "films is not a whole space"),
        ("entities.parquet", shorten, r"vectors\.npy holds 400 vectors, entities\.parquet 399 entities"),
    ],
)
def test_a_damaged_space_is_refused(tmp_path: Path, name: str, damage, words: str) -> None:
    make().save(tmp_path / "films")
    damage(tmp_path / "films" / name)
    with pytest.raises(SpaceError, match=words):
        VectorSpace.load(tmp_path / "films")


def test_a_column_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    make().save(tmp_path / "films")
    path = tmp_path / "films" / "entities.parquet"
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396  # the footer, at the end, is whole
    path.write_bytes(data)
    with pytest.raises(SpaceError, match=r"entities\.parquet cannot be read"):
        VectorSpace.load(tmp_path / "films").column("id")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_vectors_may_be_safetensors(tmp_path: Path, dtype: type) -> None:
    space = VectorSpace.create("film", make().vectors.astype(dtype), make().entities)
    space.save(tmp_path / "films")
    (tmp_path / "films" / "vectors.npy").unlink()
    save_file({"vectors": space.vectors}, tmp_path / "films" / "vectors.safetensors")
    opened = VectorSpace.load(tmp_path / "films")
    assert isinstance(opened.vectors, np.memmap)
    assert opened.vectors.dtype == dtype
    np.testing.assert_array_equal(opened.vectors, space.vectors)
    opened.verify()
    cut(tmp_path / "films" / "vectors.safetensors")
    with pytest.raises(SpaceError, match="films is not a whole space"):
        VectorSpace.load(tmp_path / "films")


def test_an_existing_folder_is_kept_unless_told(tmp_path: Path) -> None:
    first = make(seed=0).save(tmp_path / "films")
    with pytest.raises(ValueError, match="exists already"):
        make(seed=1).save(tmp_path / "films")
    assert VectorSpace.load(tmp_path / "films").fingerprint == first.fingerprint
    assert make(seed=1).save(tmp_path / "films", overwrite=True).fingerprint != first.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["films"]


# ---- what may go in


def broken(change) -> tuple[np.ndarray, dict]:
    vectors, table = np.ones((30, 3), np.float32), {"id": [str(n) for n in range(30)]}
    return change(vectors, table) or (vectors, table)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v, t: v.__setitem__((4, 1), np.nan), r"1 of 30 rows hold NaN or infinity \(rows 4\)"),
        (lambda v, t: v.__setitem__((4, 1), np.inf), "NaN or infinity"),
        (lambda v, t: v.__setitem__(slice(0, 7), 0), r"7 of 30 rows are all zeros \(rows 0, 1, 2, 3, 4, \.\.\."),
        (lambda v, t: t["id"].__setitem__(5, "4"), "1 ids stand more than once \\('4'\\)"),
        (lambda v, t: t["id"].__setitem__(5, None), "row 5 has no id"),
        (lambda v, t: (v[:29], t), "29 vectors but 30 entities"),
        (lambda v, t: (v[:, :0], t), "table of numbers"),
        (lambda v, t: (v[0], t), "table of numbers"),
        (lambda v, t: (v, {"name": t["id"]}), "no column 'id'; they have name"),
        (lambda v, t: t.__setitem__("split", ["train"] * 29 + ["dev"]), r"column 'split' holds \['dev'\]"),
        (lambda v, t: t.__setitem__("split", ["test"] * 30), "no entity falls into the train split"),
    ],
)
def test_what_is_no_space_is_refused(change, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        VectorSpace.create("film", *broken(change))


def test_repeated_ids_are_found_across_chunks() -> None:
    assert repeated(pa.chunked_array([["a", "b"], ["c"]])) == []
    assert sorted(repeated(pa.chunked_array([["a", "b"], ["b", "c", "a"]]))) == ["a", "b"]


@pytest.mark.parametrize(("ids", "read"), [([7, 8], ["7", "8"]), ([7.0, 8.0], ["7", "8"]), (["07", "8"], ["07", "8"])])
def test_ids_become_text(ids: list, read: list[str]) -> None:
    table = {"id": ids, "split": ["train", "train"]}
    assert VectorSpace.create("film", np.ones((2, 2)), table).column("id").to_pylist() == read


def test_unknown_metric_and_split_column() -> None:
    with pytest.raises(SpaceError, match="unknown metric 'manhattan'"):
        make(metric="manhattan")
    with pytest.raises(SpaceError, match="no column 'name' to split by"):
        make(split_by="name")


# ---- the split


def test_titles_have_one_key_everywhere() -> None:
    for same in (
        ["Matrix, The (1999)", "The Matrix", "the matrix (1999) ", "THE MATRIX"],
        ["Misérables, Les (1995)", "Les Miserables", "les misérables"],
        ["WALL·E (2008)", "wall-e"],
    ):
        assert len({title_key(title) for title in same}) == 1
    assert title_key("Matrix, The (1999)") == "the matrix"
    assert title_key("1984 (1984)") == "1984"
    assert title_key("七人の侍") == "七人の侍"  # never empty


def test_the_split_is_a_rule_of_the_title() -> None:
    titles = [f"Film {n}, The ({1950 + n % 60})" for n in range(3000)]
    other = [f"THE film {n}" for n in range(3000)]
    splits = assign_splits(titles, "title")
    np.testing.assert_array_equal(splits, assign_splits(other, "title"))
    shares = [np.mean(splits == name) for name in SPLITS]
    np.testing.assert_allclose(shares, [0.80, 0.05, 0.15], atol=0.02)


def test_splits_do_not_depend_on_order_or_company() -> None:
    keys = [str(n) for n in range(200)]
    assert list(assign_splits(keys)) == list(assign_splits(keys[::-1]))[::-1]


def test_rows_of_a_split_are_those_of_the_column() -> None:
    space = make()
    everything = np.concatenate([space.rows(name) for name in SPLITS])
    assert sorted(everything) == list(range(400))
    assert all(space.column("split")[int(row)].as_py() == "test" for row in space.rows("test"))


def test_an_entity_without_title_is_split_by_its_id() -> None:
    ids = [f"n{n}" for n in range(300)]
    table = {"id": ids, "title": pa.array([None] * 300, pa.string())}
    space = VectorSpace.create("film", np.ones((300, 2)), table, split_by="title")
    assert set(space.column("split").to_pylist()) == set(SPLITS)
    assert space.title(5) == "n5"


# ---- looking things up


def test_lookups() -> None:
    space = make()
    assert space.find("1007") == space.find("Film 7 (1957)") == 7
    assert space["1007"].row == space[7].row == 7
    assert "Film 7 (1957)" in space
    assert "Film 7" not in space
    assert space.metadata(8)["genres"] == []
    with pytest.raises(UnknownEntityError, match=r"did you mean 'Film 7 \(1957\)'"):
        space["film 7"]
    with pytest.raises(UnknownEntityError, match="rows 0 to 399, not 400"):
        space[400]
    with pytest.raises(SpaceError, match="no column 'year'; it has id, title"):
        space.column("year")


def test_the_closest_of_many_titles(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghilmnoprstu"), 6)) for _ in range(300)]
    many = [f"{words[n % 300]} {words[n * 7 % 300]} {n}" for n in range(20 * LOOKED_AT)] + ["", "七人\n侍"]
    assert closest("Alein", [*many, "Alien (1979)"])[0] == "Alien (1979)"
    assert closest("Teh Matirx", [*many, "Matrix, The (1999)"])[0] == "Matrix, The (1999)"
    assert closest("七人", [*many, "Alien"])[0] == "七人\n侍"
    assert closest(" ", many) == []
    looked_at: list[int] = []
    plain = difflib.get_close_matches
    monkeypatch.setattr(
        difflib,
        "get_close_matches",
        lambda name, keys, **more: looked_at.append(len(keys)) or plain(name, keys, **more),
    )
    closest("Alein", many)
    assert looked_at == [LOOKED_AT]


def test_a_title_that_two_share_asks_for_an_id() -> None:
    space = VectorSpace.create("film", np.eye(40), {"id": [str(n) for n in range(40)], "title": ["Hamlet"] * 40})
    with pytest.raises(UnknownEntityError, match=r"40 entities .* use an id \('0', '1'"):
        space.find("Hamlet")
    assert space["3"].title == "Hamlet"


def test_where() -> None:
    space = make()
    np.testing.assert_array_equal(space.where("kind", 3), np.arange(3, 400, 5))
    genres = space.column("genres").to_pylist()
    wanted = [row for row, names in enumerate(genres) if "Comedy" in names]
    np.testing.assert_array_equal(space.where("genres", "Comedy"), wanted)
    np.testing.assert_array_equal(space.where("genres", "Comedy", "test"), np.intersect1d(wanted, space.rows("test")))
    assert len(space.where("genres", "Western")) == 0


def test_points_of_different_spaces_do_not_mix() -> None:
    with pytest.raises(SpaceError, match="cannot be combined"):
        make(seed=0)[0] + make(seed=1)[0]
    with pytest.raises(SpaceError, match="8 dimensions"):
        Point(np.ones(7), make())
    with pytest.raises(SpaceError, match="NaN"):
        Point(np.full(8, np.nan), make())


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
    space = make()
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
    space = make(metric=metric)
    percentiles = [space.support(space[int(row)]).percentile for row in space.rows("train")]
    assert 40 < np.mean(percentiles) < 60
    verdicts = [space.support(space[int(row)]).verdict for row in space.rows("train")]
    assert np.mean([verdict == "real" for verdict in verdicts]) > 0.85


def test_far_points_are_far_and_averages_central() -> None:
    space = make(metric="euclidean")
    assert space.support(Point(np.full(8, 50.0), space)).verdict == "far"
    members = space.where("kind", 0, "train")
    middle = Point(space.vectors[members].mean(0), space, "the middle", None, ("a", "b"))
    support = space.support(middle)
    assert support.percentile < 10
    assert "a blend of a, b" in str(support)


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
    space = make()
    train = np.asarray(space.vectors)[space.rows("train")]
    np.testing.assert_allclose(space.normalizer.mean, train.mean(0), atol=1e-5)
    np.testing.assert_allclose(space.normalizer.scale, train.std(0), rtol=1e-4)
