"""Spaces: what is saved is what is opened, the split is a rule."""

import difflib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from vectalk.errors import SpaceError, UnknownEntityError
from vectalk.space import Point, VectorSpace
from vectalk.space.checks import repeated
from vectalk.space.split import SPLITS, assign_splits
from vectalk.space.titles import LOOKED_AT, closest, title_key
from worlds import make_films

# ---- saving and opening


def test_a_saved_space_is_the_same_space(tmp_path: Path) -> None:
    space = make_films(metric="euclidean", split_by="title", licence="for research")
    opened = space.save(tmp_path / "films")
    for attribute in ("name", "metric", "split_by", "licence", "fingerprint", "split_hash", "dim", "column_names"):
        assert getattr(opened, attribute) == getattr(space, attribute)
    assert len(opened) == len(space)
    np.testing.assert_array_equal(opened.vectors, space.vectors)
    np.testing.assert_array_equal(opened.normalizer.scale, space.normalizer.scale)
    probes = np.random.default_rng(0).standard_normal((20, space.dim))
    assert opened.supports(probes) == space.supports(probes)
    assert opened.entities.equals(space.entities)
    opened.verify()


def test_opening_reads_no_vectors(tmp_path: Path) -> None:
    opened = make_films().save(tmp_path / "films")
    assert isinstance(opened.vectors, np.memmap)
    assert isinstance(opened._entities, Path)


def test_half_precision_stays_half(tmp_path: Path) -> None:
    space = make_films()
    half = VectorSpace.create("film", space.vectors.astype(np.float16), {"id": [str(n) for n in range(400)]})
    opened = half.save(tmp_path / "half")
    assert opened.vectors.dtype == np.float16
    assert opened[3].values.dtype == np.float32
    opened.verify()


@pytest.mark.parametrize("target", ["vectors", "ids", "split"])
def test_tampering_is_found(tmp_path: Path, target: str) -> None:
    space = make_films()
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
    by_id, by_title = make_films(split_by="id"), make_films(split_by="title")
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
    make_films().save(tmp_path / "films")
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
        ("entities.parquet", cut, "films is not a whole space"),
        ("entities.parquet", lambda path: path.unlink(), "films is not a whole space"),
        ("entities.parquet", shorten, r"vectors\.npy holds 400 vectors, entities\.parquet 399 entities"),
    ],
)
def test_a_damaged_space_is_refused(tmp_path: Path, name: str, damage, words: str) -> None:
    make_films().save(tmp_path / "films")
    damage(tmp_path / "films" / name)
    with pytest.raises(SpaceError, match=words):
        VectorSpace.load(tmp_path / "films")


def test_a_column_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    make_films().save(tmp_path / "films")
    path = tmp_path / "films" / "entities.parquet"
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396  # the footer, at the end, is whole
    path.write_bytes(data)
    with pytest.raises(SpaceError, match=r"entities\.parquet cannot be read"):
        VectorSpace.load(tmp_path / "films").column("id")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_vectors_may_be_safetensors(tmp_path: Path, dtype: type) -> None:
    space = VectorSpace.create("film", make_films().vectors.astype(dtype), make_films().entities)
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
    first = make_films(seed=0).save(tmp_path / "films")
    with pytest.raises(ValueError, match="exists already"):
        make_films(seed=1).save(tmp_path / "films")
    assert VectorSpace.load(tmp_path / "films").fingerprint == first.fingerprint
    assert make_films(seed=1).save(tmp_path / "films", overwrite=True).fingerprint != first.fingerprint
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
        (lambda v, t: t["id"].__setitem__(5, "4"), "1 ids occur more than once \\('4'\\)"),
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
        make_films(metric="manhattan")
    with pytest.raises(SpaceError, match="no column 'name' to split by"):
        make_films(split_by="name")


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
    space = make_films()
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
    space = make_films()
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
    space = make_films()
    np.testing.assert_array_equal(space.where("kind", 3), np.arange(3, 400, 5))
    genres = space.column("genres").to_pylist()
    wanted = [row for row, names in enumerate(genres) if "Comedy" in names]
    np.testing.assert_array_equal(space.where("genres", "Comedy"), wanted)
    np.testing.assert_array_equal(space.where("genres", "Comedy", "test"), np.intersect1d(wanted, space.rows("test")))
    assert len(space.where("genres", "Western")) == 0


def test_points_of_different_spaces_do_not_mix() -> None:
    with pytest.raises(SpaceError, match="cannot be combined"):
        make_films(seed=0)[0] + make_films(seed=1)[0]
    with pytest.raises(SpaceError, match="8 dimensions"):
        Point(np.ones(7), make_films())
    with pytest.raises(SpaceError, match="NaN"):
        Point(np.full(8, np.nan), make_films())


def test_a_space_is_called_as_a_slot_may_be() -> None:
    with pytest.raises(SpaceError, match="cannot be called 'my film!'"):
        VectorSpace.create("my film!", np.ones((3, 2)), {"id": ["a", "b", "c"]})


def test_spaces_and_points_say_what_they_are() -> None:
    space = make_films(60)
    assert repr(space) == "VectorSpace('film': 60 x 8, cosine)"
    assert repr(space["Film 3 (1953)"]) == "Point('Film 3 (1953)' in 'film')"


def test_neighbors_of_a_title() -> None:
    space = make_films(60)
    by_title, by_point = space.neighbors("Film 3 (1953)", 4)[0], space.neighbors(space["Film 3 (1953)"], 4)[0]
    assert by_title.tolist() == by_point.tolist()


def test_points_of_spaces_of_other_dimensions_do_not_mix() -> None:
    with pytest.raises(SpaceError, match="points of different spaces cannot be combined"):
        _ = make_films(60)["1001"] + make_films(60, dim=5)["1001"]


def test_another_spelling_of_a_title_finds_it() -> None:
    titles = ["Matrix, The (1999)", "Misérables, Les (1995)", "Misérables, Les (2012)", "Alien (1979)"]
    space = VectorSpace.create("film", np.eye(4, 3, dtype=np.float32) + 1, {"id": list("abcd"), "title": titles})
    assert space.find("The Matrix (1999)") == 0
    assert space.find("les miserables (2012)") == 2
    assert space.point("'The Matrix (1999)' + 'Alien (1979)'").sources == ("Matrix, The (1999)", "Alien (1979)")
    for unclear in ("Les Misérables", "The Matrix (1998)"):
        with pytest.raises(UnknownEntityError, match="did you mean"):
            space.find(unclear)
