"""Never a wrong row: ids that cannot be read stop an import, parts come in their order, ids meet as text."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from vectalk.errors import SpaceError
from vectalk.space import VectorSpace
from vectalk.space.importing.ids import read_ids
from vectalk.space.importing.readers import import_space, read_vectors, take
from vectalk.space.importing.tables import Columns

ROWS, DIM = 130, 4


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)


def names() -> list[str]:
    return [f"P{n:04d}" for n in range(ROWS)]


def write_facts(path: Path, ids: list[Any]) -> Path:
    """Write metadata in another order than that of the vectors."""
    order = np.random.default_rng(1).permutation(len(ids))
    lines = [f"{ids[n]},Title {n}\n" for n in order]
    path.write_text("id,title\n" + "".join(lines), encoding="utf-8")
    return path


def check(space: VectorSpace, vectors: np.ndarray, ids: list[Any]) -> None:
    for row, name in enumerate(map(str, ids)):
        assert space[name].title == f"Title {row}"
        np.testing.assert_array_equal(space[name].values, vectors[row])


# ---- what cannot be read


@pytest.mark.parametrize("pickled", ["ids", "titles", "sku", "index_to_key"])
def test_an_archive_whose_columns_are_pickled_stops(tmp_path: Path, vectors: np.ndarray, pickled: str) -> None:
    np.savez(tmp_path / "v.npz", vectors=vectors, **{pickled: np.array(names(), object)})
    facts = write_facts(tmp_path / "facts.csv", names())
    for options in ({}, {"metadata": facts}, {"key": "vectors"}):
        with pytest.raises(SpaceError, match=rf"array '{pickled}' holds Python objects.*as {pickled}\.astype\(str\)"):
            import_space(tmp_path / "v.npz", name="item", **options)
    np.savez(tmp_path / "v.npz", vectors=vectors, ids=np.array(names(), object).astype(str))  # what the error says
    check(import_space(tmp_path / "v.npz", name="item", metadata=facts), vectors, names())


def test_pickled_settings_in_an_archive_are_nobodys_row(tmp_path: Path, vectors: np.ndarray) -> None:
    np.savez(tmp_path / "v.npz", vectors=vectors, ids=np.array(names()), config=np.array({"dim": 4}, object))
    assert import_space(tmp_path / "v.npz", name="item").column("id").to_pylist() == names()


@pytest.mark.parametrize("ids", [names()[1:], [names()], "P0000"])
def test_ids_of_an_archive_that_do_not_fit_stop(tmp_path: Path, vectors: np.ndarray, ids: Any) -> None:
    np.savez(tmp_path / "v.npz", vectors=vectors, ids=np.array(ids))
    with pytest.raises(SpaceError, match=r"'ids' has shape \(.*'vectors' has 130 vectors"):
        read_vectors(tmp_path / "v.npz")


@pytest.mark.parametrize(
    "ids",
    [
        np.array(names()).astype("S"),
        np.array(names())[:, None],
        np.arange(ROWS, dtype=">i4") * 7,
        np.arange(ROWS, dtype=np.uint64) + np.uint64(2**64 - ROWS),
        np.arange(ROWS) + 0.5,
        np.datetime64("2020-01-01") + np.arange(ROWS),
    ],
)
def test_ids_of_an_archive_of_any_kind_are_taken(tmp_path: Path, vectors: np.ndarray, ids: np.ndarray) -> None:
    expected = [x.decode() if isinstance(x, bytes) else str(x) for x in ids.ravel()]
    np.savez(tmp_path / "v.npz", vectors=vectors, ids=ids)
    check(
        import_space(tmp_path / "v.npz", name="item", metadata=write_facts(tmp_path / "f.csv", expected)),
        vectors,
        expected,
    )


def test_ids_beside_a_tensor_are_taken(tmp_path: Path, vectors: np.ndarray) -> None:
    ids = np.arange(ROWS) * 3
    save_file({"embeddings": vectors, "item_ids": ids, "bias": vectors[:, 0].copy()}, tmp_path / "v.safetensors")
    facts = write_facts(tmp_path / "facts.csv", ids.tolist())
    check(import_space(tmp_path / "v.safetensors", name="item", metadata=facts), vectors, ids.tolist())


def test_a_bias_is_no_id(tmp_path: Path, vectors: np.ndarray) -> None:
    np.savez(tmp_path / "v.npz", vectors=vectors, bias=vectors[:, 0], status=np.array(["new", "old"] * (ROWS // 2)))
    with pytest.raises(
        SpaceError, match=r"the column of the ids is not clear.*--id-column; the columns are bias, status"
    ):
        take(tmp_path / "v.npz")
    np.savez(tmp_path / "v.npz", vectors=vectors, bias=vectors[:, 0])
    read = take(tmp_path / "v.npz").entities
    assert read["id"].to_pylist() == [str(row) for row in range(ROWS)]
    np.testing.assert_array_equal(read["bias"], vectors[:, 0])


def test_names_of_arrays_keep_their_last_letter(tmp_path: Path, vectors: np.ndarray) -> None:
    columns = {name: np.arange(ROWS) for name in ("bias", "status", "tags", "movie_ids")}
    np.savez(tmp_path / "v.npz", vectors=vectors, titles=np.array(names()), **columns)
    table = read_vectors(tmp_path / "v.npz")[1]
    assert table is not None
    assert sorted(table.column_names) == ["bias", "movie_id", "status", "tags", "title"]


def test_ids_that_numpy_pickled_say_how_to_save_them(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array(names(), object), allow_pickle=True)
    with pytest.raises(SpaceError, match=r"ids\.npy cannot be read.*pickled.*ids\.astype\(str\)"):
        read_ids(tmp_path / "ids.npy")


# ---- ids in two places


def test_ids_in_another_order_than_the_file_s_own_are_a_contradiction(tmp_path: Path, vectors: np.ndarray) -> None:
    pq.write_table(pa.table({"id": names(), "v": list(vectors)}), tmp_path / "v.parquet")
    (tmp_path / "ids.txt").write_text("\n".join(reversed(names())))
    with pytest.raises(SpaceError, match=r"column 'id' of .* have the same ids in another order"):
        take(tmp_path / "v.parquet", ids=tmp_path / "ids.txt")
    (tmp_path / "ids.txt").write_text("\n".join(names()))
    assert take(tmp_path / "v.parquet", ids=tmp_path / "ids.txt").entities["id"].to_pylist() == names()
    pq.write_table(pa.table({"id": range(ROWS), "v": list(vectors)}), tmp_path / "v.parquet")
    told: list[str] = []
    read = take(tmp_path / "v.parquet", ids=tmp_path / "ids.txt", tell=told.append)  # they were rows' numbers
    assert read.entities["id"].to_pylist() == names()
    assert f"note: the ids come from {tmp_path}/ids.txt, not from column 'id' of {tmp_path}/v.parquet" == told[0]


def test_what_was_taken_is_told(tmp_path: Path, vectors: np.ndarray) -> None:
    np.savez(tmp_path / "v.npz", items=vectors, sku_id=np.array(names()))
    (tmp_path / "f.csv").write_text("SKU,Title\n" + "".join(f"{name},T {name}\n" for name in names()))
    told: list[str] = []
    take(tmp_path / "v.npz", metadata=tmp_path / "f.csv", id_name="SKU", tell=told.append)
    assert told == [
        f"taken: ids from 'sku_id' of {tmp_path}/v.npz; titles from 'Title' of {tmp_path}/f.csv; "
        f"vectors of 4 numbers from 'items' of {tmp_path}/v.npz"
    ]
    told.clear()
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "f.csv").write_text("sku,name\n" + "".join(f"{name},T {name}\n" for name in names()))
    take(tmp_path / "v.npy", metadata=tmp_path / "f.csv", id_name="sku", tell=told.append)
    assert told == [
        f"{tmp_path}/v.npy has no ids: row i of {tmp_path}/f.csv is paired with vector i (give --ids to join by id)",
        f"taken: ids from 'sku' of {tmp_path}/f.csv, row by row; no titles (name a column with --rename COLUMN=title); "
        f"vectors of 4 numbers from {tmp_path}/v.npy",
    ]


def test_a_title_with_a_capital_is_the_title(tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", vectors)
    for title in ("Title", "TITLE"):
        write_facts(tmp_path / "f.csv", names())
        (tmp_path / "f.csv").write_text((tmp_path / "f.csv").read_text().replace("title", title, 1))
        (tmp_path / "ids.txt").write_text("\n".join(names()))
        options = {"ids": tmp_path / "ids.txt", "metadata": tmp_path / "f.csv"}
        space = import_space(tmp_path / "v.npy", name="item", **options)
        check(space, vectors, names())
        assert space.split_by == "title"
        assert import_space(tmp_path / "v.npy", name="item", split_by=title, **options).split_by == "title"
    both = pa.table({"id": ["a"], "Title": ["of honour"], "title": ["Film"]})
    assert Columns().apply(both, "t").to_pylist() == [{"id": "a", "Title": "of honour", "title": "Film"}]


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 2, 0], [0, 1, 2]])
def test_a_json_object_may_map_ids_to_rows(tmp_path: Path, order: list[int]) -> None:
    ids = ["B1", "B2", "B3"]
    (tmp_path / "ids.json").write_text(json.dumps({ids[row]: row for row in order}))
    assert read_ids(tmp_path / "ids.json")["id"].to_pylist() == ids
    (tmp_path / "ids.json").write_text(json.dumps({str(row): ids[row] for row in order}))
    assert read_ids(tmp_path / "ids.json")["id"].to_pylist() == ids


def test_a_json_object_that_may_map_either_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text('{"0": 1, "1": 0}')
    with pytest.raises(SpaceError, match=r"can be read as {id: row} or as {row: id}"):
        read_ids(tmp_path / "ids.json")
    for wrong in ("[[1], [2]]", "[true, false]"):
        (tmp_path / "ids.json").write_text(wrong)
        with pytest.raises(SpaceError, match=r"row 0 holds .*, which is not an id"):
            read_ids(tmp_path / "ids.json")


# ---- parts


def write_parts(folder: Path, vectors: np.ndarray, name: str = "emb_{}.parquet") -> Path:
    """Write 13 parts of ten vectors, numbered without zeros in front."""
    folder.mkdir(parents=True)
    for part in range(13):
        rows = vectors[10 * part : 10 * part + 10]
        path = folder / name.format(part)
        if path.suffix == ".npy":
            np.save(path, rows)
        else:
            pq.write_table(pa.table({"embedding": list(rows)}), path)
    return folder


@pytest.mark.parametrize("name", ["emb_{}.parquet", "{}.parquet", "emb_{}.npy", "part-{}-of-13.parquet"])
def test_parts_come_in_the_order_of_their_numbers(tmp_path: Path, vectors: np.ndarray, name: str) -> None:
    folder = write_parts(tmp_path / "parts", vectors, name)
    (tmp_path / "ids.txt").write_text("\n".join(names()))
    told: list[str] = []
    facts = write_facts(tmp_path / "facts.csv", names())
    space = import_space(folder, name="item", ids=tmp_path / "ids.txt", metadata=facts, tell=told.append)
    check(space, vectors, names())
    first = [name.format(part) for part in (0, 1, 2)]
    assert told[0] == f"{folder}: 13 parts, read in the order {', '.join(first)}, ..., {name.format(12)}"


def test_a_dataset_saved_to_disk(tmp_path: Path, vectors: np.ndarray) -> None:
    """What `datasets.save_to_disk` leaves: streams of arrow in the order of its card, one folder a split."""
    table = pa.table({"id": names(), "embedding": list(vectors)})
    parts = [table.slice(0, 60), table.slice(60, 40), table.slice(100)]
    for split, tables in (("train", parts[:2]), ("test", parts[2:])):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        files = [f"data-{n:05d}-of-{len(tables):05d}.arrow" for n in range(len(tables))]
        for file, part in zip(files, tables, strict=True):
            with pa.ipc.new_stream(folder / file, part.schema) as writer:
                writer.write_table(part)
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": file} for file in files]}))
        (folder / "dataset_info.json").write_text("{}")
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    facts = write_facts(tmp_path / "facts.csv", names())
    check(import_space(tmp_path / "saved", name="item", metadata=facts), vectors, names())
    assert take(tmp_path / "saved" / "train").entities.num_rows == 100
    for broken in ("5", "{}", '{"splits": 5}', "{"):
        (tmp_path / "saved" / "dataset_dict.json").write_text(broken)
        with pytest.raises(SpaceError, match=r"dataset_dict\.json"):
            take(tmp_path / "saved")
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    (tmp_path / "saved" / "train" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(SpaceError, match=r"does not have its part data-00001-of-00002\.arrow"):
        take(tmp_path / "saved")


def test_a_repository_of_the_hub_and_partitions(tmp_path: Path, vectors: np.ndarray) -> None:
    table = pa.table({"id": names(), "embedding": list(vectors)})
    facts = write_facts(tmp_path / "facts.csv", names())
    (tmp_path / "hub" / "data").mkdir(parents=True)
    (tmp_path / "hub" / "README.md").write_text("# x")
    (tmp_path / "hub" / "dataset_infos.json").write_text("{}")
    pq.write_table(table.slice(65), tmp_path / "hub" / "data" / "train-00001-of-00002.parquet")
    pq.write_table(table.slice(0, 65), tmp_path / "hub" / "data" / "train-00000-of-00002.parquet")
    check(import_space(tmp_path / "hub", name="item", metadata=facts), vectors, names())
    pq.write_to_dataset(
        table.append_column("year", pa.array([1990 + n % 3 for n in range(ROWS)])), tmp_path / "hive", ["year"]
    )
    (tmp_path / "hive" / "_SUCCESS").write_text("")
    read = take(tmp_path / "hive", metadata=facts)
    found = dict(zip(read.entities["id"].to_pylist(), read.entities["year"].to_pylist(), strict=True))
    assert found == {name: 1990 + n % 3 for n, name in enumerate(names())}
    rows = [names().index(name) for name in read.entities["id"].to_pylist()]
    np.testing.assert_array_equal(read.vectors, vectors[rows])


def test_parts_whose_columns_differ_are_unified(tmp_path: Path, vectors: np.ndarray) -> None:
    """As pandas writes chunks: in one a column is empty, and whole numbers with a gap are floats."""
    half = ROWS // 2
    first = {"id": pa.array(range(half)), "v": list(vectors[:half]), "note": ["x"] * half, "year": [1990] * half}
    second = {
        "id": pa.array([str(n) for n in range(half, ROWS)], pa.large_string()),
        "v": list(vectors[half:].astype(np.float64)),
        "note": pa.nulls(half),
        "year": pa.array([None] + [1991.0] * (half - 1)),
        "late": [True] * half,
    }
    (tmp_path / "parts").mkdir()
    pq.write_table(pa.table(first), tmp_path / "parts" / "0.parquet")
    pq.write_table(pa.table(second), tmp_path / "parts" / "1.parquet")
    read = take(tmp_path / "parts")
    assert read.entities["id"].to_pylist() == [str(n) for n in range(ROWS)]
    assert read.entities["note"].to_pylist() == ["x"] * half + [None] * half
    assert read.entities["year"].to_pylist() == [1990] * half + [None] + [1991] * (half - 1)
    assert read.entities["late"].to_pylist() == [None] * half + [True] * half
    np.testing.assert_array_equal(read.vectors, vectors)


def test_whole_numbers_keep_their_digits_beside_a_part_of_floats(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    pq.write_table(pa.table({"id": [2**60 + 1], "v": [[1.0]]}), tmp_path / "parts" / "0.parquet")
    pq.write_table(pa.table({"id": [5.0], "v": [[1.0]]}), tmp_path / "parts" / "1.parquet")
    assert take(tmp_path / "parts").entities["id"].to_pylist() == [str(2**60 + 1), "5"]


def test_a_folder_of_several_kinds_or_shapes_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    folder = write_parts(tmp_path / "parts", vectors, "emb_{}.npy")
    np.save(folder / "emb_13.npy", vectors[:, :2])
    with pytest.raises(SpaceError, match=r"emb_13\.npy has shape \(130, 2\), emb_0\.npy has \(10, 4\)"):
        take(folder)
    (folder / "ids.csv").write_text("id\n")
    with pytest.raises(SpaceError, match="has csv and npy files"):
        take(folder)
