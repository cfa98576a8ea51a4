"""Vectors in the columns of tables: lists, text, a column a dimension; and what is no vector."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vectalk.errors import SpaceError
from vectalk.space.importing.readers import import_space, read_vectors
from vectalk.space.importing.vector_columns import vectors_of

ROWS, DIM = 40, 12
HERE = Path("t.parquet")


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)


def ids() -> list[str]:
    return [f"x{n}" for n in range(ROWS)]


@pytest.mark.parametrize(
    "write",
    [
        lambda row: json.dumps([float(x) for x in row]),  # pgvector, json
        lambda row: "[" + " ".join(str(x) for x in row) + "]",  # a numpy array, printed
        lambda row: "(" + ", ".join(str(x) for x in row) + ")",
    ],
)
def test_vectors_written_as_text(vectors: np.ndarray, write) -> None:
    table = pa.table({"id": ids(), "embedding": [write(row) for row in vectors], "title": ids()})
    read = vectors_of(table, None, HERE)
    np.testing.assert_allclose(read.values, vectors, rtol=1e-6)
    assert (read.named, read.others.column_names) == ("embedding", ["id", "title"])


def test_bare_text_of_few_numbers_needs_its_name(vectors: np.ndarray) -> None:
    vectors = vectors[:, :3]
    table = pa.table({"id": ids(), "embedding": [",".join(map(str, row)) for row in vectors]})
    with pytest.raises(
        SpaceError, match=r"no column of vectors; name the column .* with --key.*the columns are id, embedding"
    ):
        vectors_of(table, None, HERE)
    np.testing.assert_allclose(vectors_of(table, "embedding", HERE).values, vectors, rtol=1e-6)


def test_a_column_a_dimension_in_the_order_of_its_numbers(vectors: np.ndarray) -> None:
    names = [f"dim_{d}" for d in range(DIM)]
    table = pa.table({"id": ids(), **{name: vectors[:, d] for d, name in sorted(enumerate(names), key=lambda p: p[1])}})
    with pytest.raises(SpaceError, match=r"--key 'dim_\*'"):
        vectors_of(table, None, HERE)
    read = vectors_of(table, "dim_*", HERE)  # dim_10 comes after dim_9
    np.testing.assert_array_equal(read.values, vectors)
    assert read.others.column_names == ["id"]
    with pytest.raises(SpaceError, match=r"no columns 'e\*'; .*--key 'dim_\*'"):
        vectors_of(table, "e*", HERE)
    with pytest.raises(SpaceError, match=r"column 'id', .* holds string, not numbers"):
        vectors_of(table, "*", HERE)


def test_whole_numbers_are_vectors_too() -> None:
    table = pa.table({"id": ["a", "b"], "code": [[1, -2], [3, 4]]})
    assert vectors_of(table, None, HERE).values.tolist() == [[1, -2], [3, 4]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["[1, 2]", "[3, x]"], "row 1 of column 'v' has 'x', which is not a number"),
        (["[1, 2]", "[3]"], "row 1 of column 'v' has 1 numbers, row 0 has 2"),
        ([["a"], ["b"]], "holds list<.*string>, which is not vectors"),
        ([True, False], "holds bool, which is not vectors"),
    ],
)
def test_what_is_no_vector_is_named(values: list, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        vectors_of(pa.table({"v": values}), "v", HERE)


def test_vectors_from_csv_json_and_a_folder(tmp_path: Path, vectors: np.ndarray) -> None:
    header = "id," + ",".join(f"e{d}" for d in range(DIM))
    lines = [f"{name}," + ",".join(map(str, row)) for name, row in zip(ids(), vectors, strict=True)]
    (tmp_path / "v.csv").write_text("\n".join([header, *lines]))
    rows = [{"id": name, "v": [float(x) for x in row]} for name, row in zip(ids(), vectors, strict=True)]
    (tmp_path / "v.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "parts").mkdir()
    for part in (0, 1):
        half = slice(part * ROWS // 2, (part + 1) * ROWS // 2)
        pq.write_table(pa.table({"id": ids()[half], "v": list(vectors[half])}), tmp_path / "parts" / f"{part}.parquet")
    for name, key in (("v.csv", "e*"), ("v.jsonl", None), ("parts", None)):
        space = import_space(tmp_path / name, name="item", key=key)
        np.testing.assert_allclose(space["x7"].values, vectors[7], rtol=1e-6)


def test_an_npz_brings_its_ids(tmp_path: Path, vectors: np.ndarray) -> None:
    np.savez(tmp_path / "v.npz", vectors=vectors, ids=np.array(ids()), titles=np.array([f"T {n}" for n in ids()]))
    space = import_space(tmp_path / "v.npz", name="item")
    assert space["x7"].title == "T x7"
    np.savez(tmp_path / "v.npz", vectors=vectors)
    told: list[str] = []
    space = import_space(tmp_path / "v.npz", name="item", tell=told.append)
    assert told[0] == "no ids: the ids are the row numbers 0 to 39 (give ids with --ids or --metadata)"
    assert space["7"].row == 7


def test_what_looks_like_a_mistake_is_told(tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "t.npy", vectors.T)
    told: list[str] = []
    import_space(tmp_path / "t.npy", name="item", tell=told.append)
    assert "12 vectors with 40 dimensions" in told[0]
    assert "too few to train and evaluate" in told[-1]
    np.save(tmp_path / "c.npy", vectors.astype(np.complex64))
    with pytest.raises(SpaceError, match="not complex64"):
        read_vectors(tmp_path / "c.npy")
    (tmp_path / "v.pt").write_bytes(b"x")
    with pytest.raises(SpaceError, match=r"save a tensor as \.npy: numpy\.save"):
        read_vectors(tmp_path / "v.pt")
    import_space(tmp_path / "t.npy", name="item").save(tmp_path / "space")
    with pytest.raises(SpaceError, match="is already a space"):
        read_vectors(tmp_path / "space")


def test_ids_beside_a_table_leave_its_columns(tmp_path: Path, vectors: np.ndarray) -> None:
    pq.write_table(pa.table({"v": list(vectors), "title": ids()}), tmp_path / "v.parquet")
    (tmp_path / "ids.txt").write_text("\n".join(f"i{n}" for n in range(ROWS)))
    space = import_space(tmp_path / "v.parquet", name="item", ids=tmp_path / "ids.txt")
    assert space["i7"].title == "x7"


def test_tables_may_call_their_ids_differently(tmp_path: Path, vectors: np.ndarray) -> None:
    pq.write_table(pa.table({"id": range(ROWS), "v": list(vectors)}), tmp_path / "v.parquet")
    (tmp_path / "facts.csv").write_text("sku,name\n" + "".join(f"{n},N{n}\n" for n in range(ROWS)))
    given = {"name": "item", "metadata": tmp_path / "facts.csv"}
    space = import_space(tmp_path / "v.parquet", id_name="sku", columns=None, **given)
    assert space.metadata(7) == {"id": "7", "name": "N7", "split": space.metadata(7)["split"]}
    with pytest.raises(SpaceError, match=r"no column 'skuu' .*v\.parquet has id; .*facts\.csv has sku, name"):
        import_space(tmp_path / "v.parquet", id_name="skuu", **given)
