"""One vector a cell, in whatever form: printed, nested, as a tensor, as bytes; missing ones by their row."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vectalk.errors import SpaceError
from vectalk.space.importing.readers import read_vectors, take
from vectalk.space.importing.vector_columns import vectors_of

ROWS, DIM = 40, 8
HERE = Path("t.parquet")
VECTORS = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
IDS = [f"x{n}" for n in range(ROWS)]


def bfloat16(values: np.ndarray) -> np.ndarray:
    """The upper halves of float32, rounded down."""
    return (values.view("<u4") >> 16).astype("<u2")


def rounded(values: np.ndarray) -> np.ndarray:
    return (bfloat16(values).astype("<u4") << 16).view("<f4")


# ---- text


def comma(number: float) -> str:
    return f"{number:.6f}".replace(".", ",")


PRINTED: dict[str, Callable[[np.ndarray], str]] = {
    "json": lambda row: str(row.tolist()),
    "numpy": str,  # over two lines
    "numpy 2": lambda row: str(list(row)),  # [np.float32(0.1), ...]
    "parentheses": lambda row: str([(x,) for x in row.tolist()]).replace(",)", ")"),
    "array": lambda row: repr(row),
    "tensor": lambda row: f"tensor({row.tolist()}, device='cuda:0', grad_fn=<SelectBackward0>)",
    "braces": lambda row: "{" + ",".join(map(str, row)) + "}",
    "semicolons": lambda row: ";".join(map(str, row)),
    "bars": lambda row: "[" + "|".join(map(str, row)) + "]",
    "blanks": lambda row: " ".join(map(str, row)),
    "double brackets": lambda row: str([row.tolist()]),
    "sparse": lambda row: "{" + ",".join(f"{n + 1}:{x}" for n, x in enumerate(row)) + f"}}/{DIM}",
    "decimal commas": lambda row: " ".join(map(comma, row)),
    "decimal commas, semicolons": lambda row: "[" + "; ".join(map(comma, row)) + "]",
    "base64": lambda row: base64.b64encode(row.tobytes()).decode(),
}


@pytest.mark.parametrize("form", PRINTED)
def test_vectors_are_read_however_they_were_printed(form: str) -> None:
    table = pa.table({"id": IDS, "title": IDS, "emb": [PRINTED[form](row) for row in VECTORS]})
    read = vectors_of(table, "emb" if form == "base64" else None, HERE)
    np.testing.assert_allclose(read.values, VECTORS, atol=1e-6)
    assert (read.named, read.others.column_names) == ("emb", ["id", "title"])


def test_a_shortened_print_has_lost_its_numbers() -> None:
    table = pa.table({"id": ["a", "b"], "emb": ["[0.1 0.2 0.3]", "[0.1 0.2 ... 0.3]"]})
    with pytest.raises(SpaceError, match=r"row 1 of column 'emb' was shortened with '\.\.\.'"):
        vectors_of(table, None, HERE)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["[1,5 2,5 3]", "[1.5, 2, 3]"], "row 0 of column 'v' separates its numbers in two ways"),
        (["[1, 2]", "[3,, 4]"], "row 1 of column 'v' has '', which is not a number"),
        (["{1:0.5}/2", "[1, 2]"], r"row 1 of column 'v' has '\[1, 2\]', which is not a sparse vector"),
        (["{1:0.5}/2", "{3:0.5}/2"], "row 1 of column 'v' has position 3 in a vector of length 2"),
        (["[[1, 2], [3, 4]]", "[[1, 2], [3, 4]]"], r"row 0 of column 'v' has '2\]', which is not a number"),
        (["a title", "[1, 2]"], "row 0 of column 'v' has 'a', which is not a number"),
        (["[]", "None"], "no row of column 'v' has a vector"),
    ],
)
def test_text_that_is_no_vector_is_named(texts: list[str], words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        vectors_of(pa.table({"v": texts}), "v", HERE)


@pytest.mark.parametrize("text", ["12 34 56 78", "+49 30 12 34", "2020-01-05", "1,234", "[draft]", "(1979)"])
def test_other_text_is_not_taken_for_vectors(text: str) -> None:
    with pytest.raises(SpaceError, match="has no column of vectors"):
        vectors_of(pa.table({"id": ["a", "b"], "text": [text, "x"]}), None, HERE)


def test_a_number_that_is_unknown_makes_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text('id,v\na,"[1, 2]"\nb,"[3, null]"\nc,"[nan, 1]"\n')
    assert take(tmp_path / "v.csv", drop_bad_rows=True).entities["id"].to_pylist() == ["a"]


# ---- kinds of columns


def column(kind: str) -> tuple[Any, np.ndarray]:
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), DIM)
    halves = VECTORS.astype(np.float16)
    stored = io.BytesIO()
    np.save(stored, VECTORS[0])
    plain = {
        "lists": lambda: pa.array(list(VECTORS)),
        "large lists": lambda: pa.array(list(VECTORS), pa.large_list(pa.float32())),
        "views": lambda: pa.array(list(VECTORS), pa.list_view(pa.float32())),
        "fixed": lambda: fixed,
        "doubles": lambda: pa.array(list(VECTORS.astype(np.float64))),
        "tensor": lambda: pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [DIM]), fixed),
        "tensor 1 x D": lambda: pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [1, DIM]), fixed),
        "nested": lambda: pa.array([[row] for row in VECTORS.tolist()], pa.list_(pa.list_(pa.float32()))),
        "nested D x 1": lambda: pa.array([[[x] for x in row] for row in VECTORS.tolist()]),
        "struct": lambda: pa.StructArray.from_arrays([pa.array(c) for c in VECTORS.T], [f"d{n}" for n in range(DIM)]),
        "struct of a list": lambda: pa.array([{"values": row, "model": "m"} for row in VECTORS.tolist()]),
        "bytes": lambda: pa.array([row.tobytes() for row in VECTORS]),
        "fixed bytes": lambda: pa.array([row.tobytes() for row in VECTORS], pa.binary(4 * DIM)),
        "bytes of doubles": lambda: pa.array([row.astype(np.float64).tobytes() for row in VECTORS]),
    }
    if kind in plain:
        return plain[kind](), VECTORS
    if kind == "halves":
        return pa.array(list(halves), pa.list_(pa.float16())), halves
    if kind == "bytes of halves":
        return pa.array([row.tobytes() for row in halves]), halves
    if kind == "bfloat16":
        cells = [[x.tobytes() for x in row] for row in bfloat16(VECTORS)]
        return pa.array(cells, pa.list_(pa.binary(2))), rounded(VECTORS)
    if kind == "round doubles":
        return pa.array([np.rint(row * 8).tobytes() for row in VECTORS.astype(np.float64)]), np.rint(VECTORS * 8)
    return pa.array([stored.getvalue()] * ROWS), np.repeat(VECTORS[:1], ROWS, axis=0)


KINDS = ["lists", "large lists", "views", "fixed", "doubles", "halves", "bfloat16", "tensor", "tensor 1 x D", "nested"]
KINDS += ["nested D x 1", "struct", "struct of a list", "bytes", "fixed bytes", "bytes of doubles", "bytes of halves"]
KINDS += ["round doubles", "bytes that numpy saved"]


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_of_every_kind_of_column(kind: str, tmp_path: Path) -> None:
    values, expected = column(kind)
    table = pa.table({"id": IDS, "embedding": values, "note": ["x"] * ROWS})
    if kind != "views":  # parquet knows none
        pq.write_table(table, tmp_path / "v.parquet", row_group_size=7)
        read, others = read_vectors(tmp_path / "v.parquet")
        np.testing.assert_array_equal(read, expected)
        assert others is not None
        assert others.column_names[0] == "id"
    with pa.ipc.new_file(tmp_path / "v.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=9)
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.arrow")[0], expected)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([bfloat16(row).tobytes() for row in VECTORS]),
        pa.array([(row * 40).astype(np.int8).tobytes() for row in VECTORS]),
        pa.array([b"\x80\x04pickled." + row.tobytes() for row in VECTORS]),
    ],
)
def test_bytes_that_may_be_several_kinds_of_number_are_refused(values: pa.Array) -> None:
    with pytest.raises(SpaceError, match="column 'v' holds bytes, and their type of number cannot be guessed"):
        vectors_of(pa.table({"v": values}), "v", HERE)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[[1.0, 2.0], [3.0, 4.0]]] * 3),
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.float64(), [2, 2]), pa.FixedSizeListArray.from_arrays(pa.array([1.0] * 12), 4)
        ),
    ],
)
def test_several_vectors_a_row_are_refused(values: pa.Array) -> None:
    with pytest.raises(SpaceError, match="row 0 of column 'v' has 2 x 2 numbers, but must have one vector"):
        vectors_of(pa.table({"v": values}), "v", HERE)


def test_sparse_vectors_of_spark_are_filled(tmp_path: Path) -> None:
    """Places and numbers where most are zero, all numbers elsewhere: `type`, `size`, `indices`, `values`."""
    rows = [
        {"type": 0, "size": 3, "indices": [0, 2], "values": [1.0, 2.0]},
        {"type": 1, "size": None, "indices": None, "values": [3.0, 4.0, 5.0]},
        {"type": 0, "size": 3, "indices": [1, 2], "values": [6.0, 7.0]},
        None,
    ]
    pq.write_table(pa.table({"id": list("abcd"), "features": pa.array(rows)}), tmp_path / "v.parquet")
    read = take(tmp_path / "v.parquet", drop_bad_rows=True)
    assert read.vectors.tolist() == [[1, 0, 2], [3, 4, 5], [0, 6, 7]]
    assert read.entities.to_pylist() == [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    wrong = pa.array([{"size": 2, "indices": [5], "values": [1.0]}])
    pq.write_table(pa.table({"id": ["a"], "features": wrong}), tmp_path / "v.parquet")
    with pytest.raises(SpaceError, match="row 0 of column 'features' is not a sparse vector of 2 numbers"):
        take(tmp_path / "v.parquet")
    points = pa.array([{"text": {"indices": [5], "values": [1.0]}}])
    pq.write_table(pa.table({"id": ["a"], "vector": points}), tmp_path / "v.parquet")
    with pytest.raises(SpaceError, match=r"column 'vector\.text' has sparse vectors without their length"):
        take(tmp_path / "v.parquet")


# ---- missing vectors


@pytest.mark.parametrize(
    "kind", ["lists", "fixed", "nested", "bytes", "json", "blanks", "bfloat16", "struct of a list"]
)
def test_a_missing_vector_is_named_or_dropped(kind: str, tmp_path: Path) -> None:
    if kind in PRINTED:
        cells, expected = [PRINTED[kind](row) for row in VECTORS], VECTORS
    else:
        values, expected = column(kind)
        cells = values.to_pylist()
    nothing = {"lists": [], "json": "[]", "blanks": "", "nested": [[]]}.get(kind)
    cells[4], cells[30] = None, nothing
    stored = pa.string() if kind in PRINTED else column(kind)[0].type
    table = pa.table({"id": IDS, "embedding": pa.array(cells, stored), "title": IDS})
    pq.write_table(table, tmp_path / "v.parquet", row_group_size=8)
    with pytest.raises(
        SpaceError, match=r"row 4 of column 'embedding\S*' has no vector \(2 such rows\).*--drop-bad-rows"
    ):
        take(tmp_path / "v.parquet", key="embedding" if kind == "bytes" else None)
    with pytest.raises(SpaceError, match=r"row 4 of column 'embedding\S*' has no vector"):
        read_vectors(tmp_path / "v.parquet")
    told: list[str] = []
    read = take(tmp_path / "v.parquet", drop_bad_rows=True, tell=told.append)
    good = [n for n in range(ROWS) if n not in (4, 30)]
    assert read.entities.to_pylist()[20]["title"] == f"x{good[20]}"
    assert read.entities["id"].to_pylist() == [f"x{n}" for n in good]
    np.testing.assert_array_equal(read.vectors, expected[good].astype(np.float32))
    assert told[0] == "2 of 40 vectors dropped: none, NaN, infinity or only zeros (rows 4, 30)"


def test_dropped_rows_leave_the_others_with_their_metadata(tmp_path: Path) -> None:
    """Ids from a list beside, vectors that are missing, NaN, infinite, zero or too large for half precision."""
    vectors = VECTORS.astype(np.float64)
    vectors[3], vectors[7, 2], vectors[11, 0], vectors[20] = 0, np.nan, np.inf, 1e30
    np.save(tmp_path / "v.npy", np.asfortranarray(vectors))
    (tmp_path / "ids.txt").write_text("\n".join(IDS))
    (tmp_path / "f.csv").write_text("id,title\n" + "".join(f"{name},T {name}\n" for name in reversed(IDS)))
    for dtype, bad in (("float32", (3, 7, 11)), ("float16", (3, 7, 11, 20))):
        options = {"ids": tmp_path / "ids.txt", "metadata": tmp_path / "f.csv", "dtype": dtype}
        read = take(tmp_path / "v.npy", drop_bad_rows=True, **options)
        good = [n for n in range(ROWS) if n not in bad]
        assert read.entities["title"].to_pylist() == [f"T x{n}" for n in good]
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(read.vectors, vectors[good].astype(dtype))


def test_ragged_rows_are_named_whatever_part_they_stand_in(tmp_path: Path) -> None:
    rows = [[1.0, 2.0]] * 20
    for odd in (3, 13):
        cells = [row if n != odd else [1.0] for n, row in enumerate(rows)]
        pq.write_table(pa.table({"v": cells}), tmp_path / "v.parquet", row_group_size=10)
        with pytest.raises(SpaceError, match=f"row {odd} of column 'v' has 1 numbers, row 0 has 2"):
            read_vectors(tmp_path / "v.parquet")


# ---- a column a dimension


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("sign", [",", ";"])
def test_columns_called_by_their_number_are_vectors(tmp_path: Path, first: int, sign: str) -> None:
    """As pandas writes a frame of numbers, beside other columns or with its index; a spreadsheet has decimal commas."""
    wide = np.hstack([VECTORS, VECTORS + 1])[:, :12]  # 10 comes after 9
    head = sign.join(["id", "title", *(str(n + first) for n in range(12))])
    lines = [sign.join([name, f"T {name}", *map(str, row)]) for name, row in zip(IDS, wide, strict=True)]
    text = "\n".join([head, *lines])
    (tmp_path / "v.csv").write_text(text.replace(".", ",") if sign == ";" else text)
    read = take(tmp_path / "v.csv")
    np.testing.assert_array_equal(read.vectors, wide)
    assert read.entities["title"].to_pylist() == [f"T {name}" for name in IDS]
    index = [sign.join([name, *map(str, row)]) for name, row in zip(IDS, wide, strict=True)]
    (tmp_path / "v.csv").write_text(
        "\n".join([sign.join(["", *(str(n) for n in range(12))]), *index]).replace(".", "," if sign == ";" else ".")
    )
    read = take(tmp_path / "v.csv")
    assert read.entities["id"].to_pylist() == IDS
    np.testing.assert_array_equal(read.vectors, wide)


def test_a_row_without_any_number_is_missing(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("id,0,1\na,1,2\nb,,\nc,3,\n")
    with pytest.raises(SpaceError, match=r"row 1 of column '0 \.\.\. 1' has no vector"):
        take(tmp_path / "v.csv")
    assert take(tmp_path / "v.csv", drop_bad_rows=True).entities["id"].to_pylist() == ["a"]


def test_a_pattern_that_names_another_column_too_is_refused() -> None:
    table = pa.table({"id": ["a"], "e0": [1.0], "e1": [2.0], "episodes": [7], "ex1": [3.0]})
    with pytest.raises(SpaceError, match=r"matches both column 'e0' and column 'episodes'.*'e\[0-9\]\*'"):
        vectors_of(table, "e*", HERE)
    with pytest.raises(SpaceError, match="matches both column 'e0' and column 'ex1'"):
        vectors_of(table.drop_columns(["episodes"]), "e*", HERE)
    assert vectors_of(table, "e[0-9]*", HERE).values.tolist() == [[1, 2]]


# ---- arrays


@pytest.mark.parametrize(
    "make",
    [
        np.asfortranarray,
        lambda v: v.astype(">f4"),
        lambda v: v.astype(">f8"),
        lambda v: v.astype(np.longdouble),
        lambda v: v[:, None, :],
        lambda v: np.array([tuple(row) for row in v], dtype=[(f"d{n}", "f4") for n in range(DIM)]),
    ],
)
def test_arrays_however_they_are_stored(make: Callable[[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", make(VECTORS))
    np.testing.assert_array_equal(take(tmp_path / "v.npy").vectors, VECTORS)


def test_a_bfloat16_array_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", bfloat16(VECTORS).view("V2"))  # as ml_dtypes leaves it
    np.testing.assert_array_equal(take(tmp_path / "v.npy").vectors, rounded(VECTORS))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (VECTORS.ravel(), r"float32 of shape \(320,\); reshape it: array\.reshape\(rows, -1\)"),
        (np.array(3.0), r"float64 of shape \(\)"),
        (VECTORS.reshape(10, 4, 8), r"float32 of shape \(10, 4, 8\)"),
        (VECTORS[:0], r"float32 of shape \(0, 8\)"),
        (VECTORS > 0, "not bool"),
        (VECTORS.astype(np.complex64), "not complex64"),
        (
            np.array([tuple(r) for r in VECTORS[:, :2]], dtype=[("age", "f4"), ("b", "f4")]),
            "must be a table of numbers",
        ),
    ],
)
def test_arrays_that_are_no_vectors(array: np.ndarray, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(SpaceError, match=words):
        take(tmp_path / "v.npy")


def test_other_files_say_what_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", indices=[0], indptr=[0, 1], data=[1.0], shape=[1, 1], format=b"csr")
    (tmp_path / "v.npy").write_bytes(b"\x1f\x8b...")
    (tmp_path / "t.npy").write_text("1 2 3\n")
    (tmp_path / "v.npy.gz").write_bytes(b"\x1f\x8b...")
    for name, words in (
        ("s.npz", "has a sparse matrix; save a dense one"),
        ("v.npy", "is gzipped; unpack it: gunzip"),
        ("t.npy", "it was not written by numpy.save"),
        ("v.npy.gz", "is gzipped; unpack it: gunzip"),
    ):
        with pytest.raises(SpaceError, match=words):
            take(tmp_path / name)
