"""Ids and titles of every kind have one text, on both sides of a join; what is no id stops."""

import datetime
import decimal
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vectalk.errors import SpaceError
from vectalk.space import VectorSpace
from vectalk.space.importing.canonical import as_text, id_text
from vectalk.space.importing.ids import read_ids
from vectalk.space.importing.readers import take
from vectalk.space.importing.tables import Columns

MOMENTS = [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=12 * n) for n in range(4)]
GUIDS = [uuid.UUID(int=n * 2**100 + 17) for n in range(4)]
KINDS = {
    "text": (pa.array(["a", "b", "c", "d"]), ["a", "b", "c", "d"]),
    "blanks": (pa.array([" a", "b ", "\ufeffc", "\u00a0d"]), ["a", "b", "c", "d"]),
    "int": (pa.array([1, 2, 3, 4]), ["1", "2", "3", "4"]),
    "uint64": (pa.array([2**64 - 1, 1, 2, 3], pa.uint64()), [str(2**64 - 1), "1", "2", "3"]),
    "float": (pa.array([1.0, 2.5, 1e15, -3.0]), ["1", "2.5", "1000000000000000", "-3"]),
    "float32": (pa.array([1.0, 0.1, 3.0, 4.0], pa.float32()), ["1", "0.1", "3", "4"]),
    "float16": (pa.array(np.array([1, 2, 3, 0.5], np.float16)), ["1", "2", "3", "0.5"]),
    "floats as text": (pa.array(["1.0", "2.0", "30.0", "4.5"]), ["1", "2", "30", "4.5"]),
    "decimal": (pa.array([decimal.Decimal(x) for x in ("1.00", "2.50", "30.00", "0.05")]), ["1", "2.5", "30", "0.05"]),
    "date": (pa.array([one.date() for one in MOMENTS[::2]]), ["2020-01-01", "2020-01-02"]),
    "timestamp": (
        pa.array(MOMENTS),
        ["2020-01-01", "2020-01-01 12:00:00", "2020-01-02", "2020-01-02 12:00:00"],
    ),
    "nanoseconds": (pa.array(MOMENTS[1:2], pa.timestamp("ns")), ["2020-01-01 12:00:00"]),
    "zones": (pa.array(MOMENTS[:1], pa.timestamp("s", "Europe/Berlin")), ["2020-01-01 00:00:00Z"]),
    "moments as text": (pa.array(["2020-01-01T00:00:00", "2020-01-01T12:00Z"]), ["2020-01-01", "2020-01-01 12:00:00Z"]),
    "uuid": (pa.array([one.bytes for one in GUIDS], pa.uuid()), list(map(str, GUIDS))),
    "uuid bytes": (pa.array([one.bytes for one in GUIDS], pa.binary(16)), list(map(str, GUIDS))),
    "uuid as text": (pa.array([str(one).upper() for one in GUIDS]), list(map(str, GUIDS))),
    "bytes": (pa.array([b"Name 7", "São".encode()]), ["Name 7", "São"]),
    "digests": (pa.array([b"\xff\x00\x01", b"abc"]), ["ff0001", "616263"]),
    "categories": (pa.array(["x", "y", "z"]).dictionary_encode(), ["x", "y", "z"]),
    "numbered categories": (pa.array([7, 8, 9]).dictionary_encode(), ["7", "8", "9"]),
    "large": (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
    "views": (pa.array(["x", "y"], pa.string_view()), ["x", "y"]),
    "truth": (pa.array([True, False]), ["true", "false"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_every_kind_have_one_text(kind: str, tmp_path: Path) -> None:
    """The same text as an array, and on both sides of a join, one of which is a csv of these texts."""
    values, texts = KINDS[kind]
    assert id_text(pa.chunked_array([values])).to_pylist() == texts
    vectors = pa.array([[float(n + 1), 1.0] for n in range(len(values))])
    pq.write_table(pa.table({"key_id": values, "v": vectors}), tmp_path / "v.parquet")
    lines = [f"{text},Title {n}\n" for n, text in enumerate(texts)]
    (tmp_path / "f.csv").write_text("id,title\n" + "".join(reversed(lines)), encoding="utf-8")
    read = take(tmp_path / "v.parquet", metadata=tmp_path / "f.csv")
    assert read.entities["id"].to_pylist() == texts
    assert read.entities["title"].to_pylist() == [f"Title {n}" for n in range(len(texts))]
    assert read.vectors[:, 0].tolist() == [n + 1 for n in range(len(texts))]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "as text" not in kind and kind != "blanks"])
def test_titles_of_every_kind_are_text_and_can_be_looked_up(kind: str) -> None:
    values, texts = KINDS[kind]
    assert as_text(pa.chunked_array([values])).to_pylist() == texts
    table = Columns().apply(pa.table({"id": [f"e{n}" for n in range(len(texts))], "title": values}), "t")
    vectors = np.random.default_rng(0).standard_normal((len(texts), 3))
    space = VectorSpace.create("item", vectors, table.append_column("split", pa.array(["train"] * len(texts))))
    for row, title in enumerate(texts):
        assert space.title(row) == title
        assert space.find(title) == row


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, float("nan")], r"row 1 has no id \(1 such rows\)"),
        ([1.0, float("inf")], "row 1 has no id"),
        (["a", " "], "row 1 has no id"),
        (
            [1.0, 2.0**53],
            "column 'id' does not contain ids: they are floats of 64 bits, and 9007199254740992 is too large",
        ),
        ([["a"], ["b"]], "column 'id' does not contain ids: a column of list"),
        ([1, 1], "ids must be unique; these occur more than once: '1'"),
    ],
)
def test_what_is_no_id_stops(tmp_path: Path, values: list[Any], words: str) -> None:
    pq.write_table(pa.table({"id": values, "v": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / "v.parquet")
    with pytest.raises(SpaceError, match=words):
        take(tmp_path / "v.parquet", key="v")


def test_ids_of_a_list_keep_their_kind(tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_bytes(b'\xef\xbb\xbf[7, "08", 9.0, 18446744073709551615]')
    assert read_ids(tmp_path / "ids.json")["id"].to_pylist() == ["7", "08", "9", "18446744073709551615"]
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbf1000\r\n1001 \r\n\r\n")
    assert read_ids(tmp_path / "ids.txt")["id"].to_pylist() == ["1000", "1001"]
    (tmp_path / "ids.txt").write_text("a\u2028b\nc\x0bd\n", encoding="utf-8")  # not the ends of lines
    assert read_ids(tmp_path / "ids.txt")["id"].to_pylist() == ["a\u2028b", "c\x0bd"]


def test_titles_with_odd_blanks_are_read_back_from_their_source() -> None:
    titles = ["Non\u00a0breaking", "Line\nbreak", "tab\there", "Zero\u200bwidth", "back\\slash", "both ' and \"", "'n"]
    vectors = np.random.default_rng(0).standard_normal((len(titles), 3))
    entities = {"id": list("abcdefg"), "title": titles, "split": ["train"] * len(titles)}
    space = VectorSpace.create("item", vectors, entities)
    for row in range(len(titles)):
        assert space.point(space[row].source).row == row
