"""Vectors and metadata from files: every format, and every mistake by its name."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from vectalk.errors import SpaceError
from vectalk.space.importing.readers import import_space, read_vectors
from vectalk.space.importing.tables import Columns, read_table

ROWS, DIM = 60, 4
MOVIES = Columns(
    null_values=["(no genres listed)"],
    extract={"year": ("title", r"\((\d{4})\)\s*$")},
    list_columns={"genres": "|"},
)


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, vectors: np.ndarray) -> Path:
    """Vectors of films 0 to 59 and metadata of films 59 down to 5, in MovieLens' manner."""
    np.save(tmp_path / "vectors.npy", vectors)
    (tmp_path / "ids.csv").write_text("movieId\n" + "".join(f"{n}\n" for n in range(ROWS)))
    genres = ["Comedy|Drama", "(no genres listed)", "Drama", ""]
    lines = [f'{n},"Film {n}, The ({1950 + n}) ",{genres[n % 4]}\n' for n in range(ROWS - 1, 4, -1)]
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n" + "".join(lines))
    return tmp_path


def load(folder: Path, **options):
    settings = {"name": "film", "ids": folder / "ids.csv", "metadata": folder / "movies.csv", "missing": "drop"}
    return import_space(folder / "vectors.npy", **{**settings, "columns": MOVIES, **options})


# ---- vectors


def test_every_format_gives_the_same_vectors(tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", vectors)
    np.savez(tmp_path / "v.npz", items=vectors)
    save_file({"items": vectors}, tmp_path / "v.safetensors")
    lists = pa.array(list(vectors), pa.list_(pa.float32()))
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)
    ids = [f"f{n}" for n in range(ROWS)]
    pq.write_table(pa.table({"id": ids, "emb": lists}), tmp_path / "lists.parquet")
    pq.write_table(pa.table({"id": ids, "emb": fixed}), tmp_path / "fixed.parquet")
    for name in ("v.npy", "v.npz", "v.safetensors", "lists.parquet", "fixed.parquet"):
        read, table = read_vectors(tmp_path / name)
        np.testing.assert_array_equal(read, vectors)
        assert (table is None) == ("parquet" not in name)
    space = import_space(tmp_path / "fixed.parquet", name="film")
    assert space["f7"].row == 7


def test_several_arrays_need_a_key(tmp_path: Path, vectors: np.ndarray) -> None:
    np.savez(tmp_path / "v.npz", items=vectors, users=vectors + 1)
    save_file({"items": vectors, "users": vectors + 1}, tmp_path / "v.safetensors")
    both = {name: pa.array(list(array)) for name, array in (("items", vectors), ("users", vectors + 1))}
    pq.write_table(pa.table(both), tmp_path / "v.parquet")
    for ending in ("npz", "safetensors", "parquet"):
        np.testing.assert_array_equal(read_vectors(tmp_path / f"v.{ending}", "users")[0], vectors + 1)
        with pytest.raises(SpaceError, match="name one with --key: items, users"):
            read_vectors(tmp_path / f"v.{ending}")
        with pytest.raises(SpaceError, match=r"has no .*'films'"):
            read_vectors(tmp_path / f"v.{ending}", "films")


def test_a_parquet_slice_keeps_its_rows(tmp_path: Path, vectors: np.ndarray) -> None:
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)
    pq.write_table(pa.table({"id": [str(n) for n in range(ROWS)], "emb": fixed}).slice(10, 30), tmp_path / "v.parquet")
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.parquet")[0], vectors[10:40])


def test_vectors_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"nope\.npy does not exist"):
        read_vectors(tmp_path / "nope.npy")
    with pytest.raises(SpaceError, match="has no file of the formats"):
        read_vectors(tmp_path)
    (tmp_path / "v.pkl").write_bytes(b"x")
    with pytest.raises(SpaceError, match=r"'.pkl'; allowed are .npy"):
        read_vectors(tmp_path / "v.pkl")
    for ending in ("npy", "npz", "parquet", "safetensors"):
        (tmp_path / f"broken.{ending}").write_bytes(b"not what it says")
        with pytest.raises(SpaceError, match=f"broken.{ending} cannot be read"):
            read_vectors(tmp_path / f"broken.{ending}")
    np.save(tmp_path / "one.npy", np.ones(5))
    with pytest.raises(SpaceError, match=r"shape \(5,\)"):
        read_vectors(tmp_path / "one.npy")
    np.save(tmp_path / "objects.npy", np.array([["a"]], object), allow_pickle=True)
    with pytest.raises(SpaceError, match="cannot be read"):  # a pickle is never opened
        read_vectors(tmp_path / "objects.npy")


def test_a_tensor_of_another_kind_of_number_is_named(tmp_path: Path) -> None:
    header = json.dumps({"items": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "v.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(SpaceError, match="tensor 'items' holds F8_E4M3; save it as F32 or F16"):
        read_vectors(tmp_path / "v.safetensors")


def test_a_bfloat16_tensor_is_read(tmp_path: Path, vectors: np.ndarray) -> None:
    import torch
    from safetensors.torch import save_file as save_tensors

    tensor = torch.from_numpy(vectors).bfloat16()
    save_tensors({"model.weight": tensor, "head.bias": tensor[0].clone()}, tmp_path / "v.safetensors")
    read, _ = read_vectors(tmp_path / "v.safetensors", "model.weight")
    np.testing.assert_array_equal(read, tensor.float().numpy())


def test_ragged_and_missing_rows_are_named(tmp_path: Path) -> None:
    kind = pa.list_(pa.float32())
    pq.write_table(pa.table({"emb": pa.array([[1, 2], [3, 4], [5]], kind)}), tmp_path / "ragged.parquet")
    with pytest.raises(SpaceError, match="row 2 of column 'emb' has 1 numbers, row 0 has 2"):
        read_vectors(tmp_path / "ragged.parquet")
    pq.write_table(pa.table({"emb": pa.array([[1, 2], None], kind)}), tmp_path / "null.parquet")
    with pytest.raises(SpaceError, match="row 1 of column 'emb' has no vector"):
        read_vectors(tmp_path / "null.parquet")


# ---- tables


def test_every_kind_of_table(tmp_path: Path) -> None:
    rows = [{"id": f"0{n}", "title": str(1900 + n), "score": n / 2} for n in range(5)]
    (tmp_path / "t.csv").write_text(
        "id,title,score\n" + "".join(f"{r['id']},{r['title']},{r['score']}\n" for r in rows)
    )
    (tmp_path / "t.tsv").write_text((tmp_path / "t.csv").read_text().replace(",", "\t"))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "t.jsonl").write_text(lines)
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    for name in ("t.csv", "t.tsv", "t.jsonl", "t.jsonl.gz", "t.csv.gz", "t.parquet"):
        assert read_table(tmp_path / name).to_pylist() == rows  # ids keep their zeros, titles stay text


def test_tables_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"x")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "t.jsonl").write_text("{")
    with pytest.raises(SpaceError, match="unknown kind of table 'xlsx'; allowed are csv"):
        read_table(tmp_path / "t.xlsx")
    with pytest.raises(SpaceError, match=r"t\.csv, line 3: expected 2 values, as in the header, found 1: '3'"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(SpaceError, match=r"t\.jsonl, line 1 is not valid JSON"):
        read_table(tmp_path / "t.jsonl")
    with pytest.raises(SpaceError, match="does not exist"):
        read_table(tmp_path / "nope.csv")


def test_columns_are_prepared() -> None:
    table = pa.table({"name": ["A (1999) ", "B", None], "genres": ["x| y|x|", "none", ""], "score": [1.5, 2.5, None]})
    columns = Columns({"name": "title"}, ["none"], {"year": ("title", r"\((\d{4})\)$")}, {"genres": "|"})
    assert columns.apply(table, "t").to_pylist() == [
        {"title": "A (1999)", "genres": ["x", "y"], "score": 1.5, "year": 1999},
        {"title": "B", "genres": [], "score": 2.5, "year": None},
        {"title": None, "genres": [], "score": None, "year": None},
    ]


def test_what_is_extracted_stays_text_unless_all_are_integers() -> None:
    table = pa.table({"code": ["x1", "xA"]})
    assert Columns(extract={"part": ("code", "x(.)")}).apply(table, "t")["part"].to_pylist() == ["1", "A"]
    assert Columns(extract={"part": ("code", "x.")}).apply(table, "t")["part"].to_pylist() == ["x1", "xA"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Columns(extract={"year": ("title", "(")}), r"extract 'year': '\(' is not a regular expression"),
        (lambda: Columns(list_columns={"genres": ""}), "the separator between its values is missing"),
        (lambda: Columns(extract={"year": ("name", ".")}), "t has no column 'name'; it has id, title"),
        (lambda: Columns(extract={"title": ("title", ".")}), "column 'title' already exists"),
        (lambda: Columns(extract={"year": ("title", r"\d{4}")}), "matches no value of 'title', such as 'A'"),
        (lambda: Columns(list_columns={"genre": "|"}), "no column 'genre'"),
        (lambda: Columns(list_columns={"n": "|"}), "holds int64, not text"),
        (lambda: Columns(rename={"name": "title"}), "no column 'name'"),
        (lambda: Columns(rename={"id": "title"}), "two columns would be called 'title'"),
    ],
)
def test_wrong_column_options_are_named(make, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        make().apply(pa.table({"id": ["1"], "title": ["A"], "n": [1]}), "t")


# ---- joining


def test_vectors_meet_their_metadata(folder: Path, vectors: np.ndarray) -> None:
    told: list[str] = []
    space = load(folder, tell=told.append)
    assert len(space) == ROWS - 5
    assert told[0] == "5 of 60 vectors have no metadata: dropped"
    for row in range(len(space)):
        facts = space.metadata(row)
        number = int(facts["id"])
        np.testing.assert_array_equal(space.vectors[row], vectors[number])
        assert facts["title"] == f"Film {number}, The ({1950 + number})"
        assert facts["year"] == 1950 + number
        assert facts["genres"] == [["Comedy", "Drama"], [], ["Drama"], []][number % 4]
    assert space.split_by == "title"


def test_missing_metadata_is_an_error_a_drop_or_a_null(folder: Path) -> None:
    with pytest.raises(SpaceError, match=r"5 of 60 vectors have no metadata \(ids '0', '1', .*--missing drop"):
        load(folder, missing="error")
    kept = load(folder, missing="keep")
    assert len(kept) == ROWS
    assert kept.metadata(0)["title"] is None
    assert kept.title(0) == "0"
    with pytest.raises(SpaceError, match="not 'ignore'"):
        load(folder, missing="ignore")


def test_ids_come_from_a_file_the_metadata_or_the_row_number(folder: Path, vectors: np.ndarray) -> None:
    (folder / "ids.txt").write_text("".join(f"{n}\n" for n in range(ROWS)))
    assert load(folder, ids=folder / "ids.txt").fingerprint == load(folder).fingerprint
    assert load(folder, ids=None, metadata=None, columns=None)["59"].row == 59
    np.save(folder / "vectors.npy", vectors[5:][::-1])
    assert load(folder, ids=None).fingerprint != load(folder, ids=None, metadata=None, columns=None).fingerprint
    np.testing.assert_array_equal(load(folder, ids=None)["17"].values, vectors[17])


def test_ids_keep_their_zeros(tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "vectors.npy", vectors)
    names = [f"{n:03d}" for n in range(ROWS)]
    for head in ("sku", "skuId"):  # the only column; the column that is guessed
        other = "" if head == "sku" else ",n"
        rows = "".join(f"{name}{other and ',1'}\n" for name in names)
        (tmp_path / "ids.csv").write_text(f"{head}{other}\n{rows}")
        space = import_space(tmp_path / "vectors.npy", name="item", ids=tmp_path / "ids.csv")
        assert space.column("id").to_pylist() == names
    (tmp_path / "facts.csv").write_text("sku,title\n" + "".join(f"{name},Item {name}\n" for name in names))
    given = {"id_name": "sku", "metadata": tmp_path / "facts.csv"}
    space = import_space(tmp_path / "vectors.npy", name="item", **given)
    assert space.column("id").to_pylist() == names
    (tmp_path / "facts.csv").write_text("itemId,title\n" + "".join(f"{name},Item {name}\n" for name in names))
    space = import_space(
        tmp_path / "vectors.npy", name="item", ids=tmp_path / "ids.csv", metadata=tmp_path / "facts.csv"
    )
    assert space["007"].title == "Item 007"


def test_bad_rows_are_named_or_dropped(folder: Path, vectors: np.ndarray) -> None:
    vectors[10, 2], vectors[20] = np.nan, 0.0
    np.save(folder / "vectors.npy", vectors)
    with pytest.raises(SpaceError, match=r"NaN or infinity .*--drop-bad-rows"):
        load(folder)
    told: list[str] = []
    space = load(folder, drop_bad_rows=True, tell=told.append)
    assert len(space) == ROWS - 7
    assert "10" not in space
    assert "20" not in space
    np.testing.assert_array_equal(space["21"].values, vectors[21])
    assert told[0].startswith("2 of 60 vectors dropped")


def test_half_precision_that_overflows_is_refused(folder: Path, vectors: np.ndarray) -> None:
    assert load(folder, dtype="float16").vectors.dtype == np.float16
    np.save(folder / "vectors.npy", vectors * 1e6)
    with pytest.raises(
        SpaceError, match=r"row 0 has numbers of about .*, too large for float16; store them with --dtype float32"
    ):
        load(folder, dtype="float16")
    with pytest.raises(SpaceError, match="dtype must be float32 or float16"):
        load(folder, dtype="int8")


def test_what_does_not_fit_is_named(folder: Path) -> None:
    (folder / "short.csv").write_text("movieId\n1\n2\n")
    with pytest.raises(SpaceError, match=r"60 vectors, .*short\.csv has 2 ids"):
        load(folder, ids=folder / "short.csv")
    (folder / "twice.csv").write_text("movieId\n" + "7\n" * 2 + "".join(f"{n}\n" for n in range(100, 158)))
    with pytest.raises(SpaceError, match=r"twice\.csv: ids must be unique; .*'7'"):
        load(folder, ids=folder / "twice.csv")
    (folder / "movies2.csv").write_text((folder / "movies.csv").read_text() + "59,Again (1999),Drama\n")
    with pytest.raises(SpaceError, match=r"movies2\.csv: ids must be unique; .*'59'"):
        load(folder, metadata=folder / "movies2.csv")
    with pytest.raises(SpaceError, match=r"no column 'imdb' .*movies\.csv has movieId, title, genres"):
        load(folder, id_name="imdb")
    (folder / "links.csv").write_text("movieId,imdbId\n1,2\n")
    with pytest.raises(SpaceError, match="--id-column; the columns are movieId, imdbId"):
        load(folder, metadata=folder / "links.csv", columns=None)
    (folder / "others.csv").write_text("movieId,title\nx,Other\n")
    with pytest.raises(SpaceError, match="none of the 60 ids has metadata"):
        load(folder, metadata=folder / "others.csv", columns=None)
    with pytest.raises(SpaceError, match="no column 'decade' to split by"):
        load(folder, split_by="decade")
