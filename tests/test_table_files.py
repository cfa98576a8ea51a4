"""Tables as people have them: spreadsheets', databases' and pandas' habits, and every fault by its name."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vectalk.errors import SpaceError
from vectalk.space.importing.ids import check_unique, identified, join, read_ids
from vectalk.space.importing.table_files import read_row
from vectalk.space.importing.tables import Columns, read_table

TITLES = ['He said "yes", twice', "Don't", "São Paulo", ""]
ROWS = [{"id": f"0{n}", "title": title, "year": 1990 + n} for n, title in enumerate(TITLES)]


def test_quotes_commas_and_accents_come_through(tmp_path: Path) -> None:
    for name, sign in (("t.csv", ","), ("semicolons.csv", ";"), ("tabs.csv", "\t"), ("t.tsv", "\t")):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=sign).writerows([ROWS[0], *(row.values() for row in ROWS)])
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "t.csv").read_bytes())
    (tmp_path / "t.json").write_text(json.dumps(ROWS))
    for name in ("t.csv", "bom.csv", "semicolons.csv", "tabs.csv", "t.tsv", "t.json"):
        assert read_table(tmp_path / name).to_pylist() == ROWS, name


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    for part in range(3):
        rows = pa.table({"id": [str(2 * part), str(2 * part + 1)]})
        pq.write_table(rows, tmp_path / f"train-0000{part}-of-00003.parquet")
    assert read_table(tmp_path)["id"].to_pylist() == list("012345")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpaceError, match="has no file of the formats"):
        read_table(tmp_path / "empty")


def test_a_column_may_turn_to_text_late(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n}\n" for n in range(200_000))  # more than a megabyte of numbers first
    (tmp_path / "t.csv").write_text(f"id,code\n{rows}200000,none\n")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    for name in ("t.csv", "t.csv.gz"):
        assert read_table(tmp_path / name)["code"][-1].as_py() == "none"


def test_one_row_of_a_file_of_groups(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [str(n) for n in range(25)]}), tmp_path / "t.parquet", row_group_size=10)
    assert [read_row(tmp_path / "t.parquet", row)["id"] for row in (0, 9, 10, 24)] == ["0", "9", "10", "24"]


def test_how_values_are_stored_is_no_matter(tmp_path: Path) -> None:
    kinds = pa.array(["a", "b", "a"])
    table = pa.table({"id": kinds.dictionary_encode(), "kind": kinds.dictionary_encode(), "view": kinds})
    pq.write_table(table.set_column(2, "view", kinds.cast(pa.string_view())), tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert [str(field.type) for field in read.schema] == ["string"] * 3
    assert read["kind"].to_pylist() == ["a", "b", "a"]


def test_the_index_that_pandas_writes(tmp_path: Path) -> None:
    (tmp_path / "beside.csv").write_text(",item_id,title\n0,x1,A\n1,x2,B\n")
    assert read_table(tmp_path / "beside.csv").column_names == ["item_id", "title"]
    (tmp_path / "index.csv").write_text(",title\n07,A\n08,B\n")
    assert identified(read_table(tmp_path / "index.csv"), None, "t")["id"].to_pylist() == ["07", "08"]
    named = pa.table({"title": ["A", "B"], "__index_level_0__": ["x", "y"]})
    pq.write_table(named, tmp_path / "t.parquet")
    assert identified(read_table(tmp_path / "t.parquet"), None, "t")["id"].to_pylist() == ["x", "y"]
    (tmp_path / "series.csv").write_text(",0\n0,007\n1,008\n")  # pd.Series(ids).to_csv
    assert read_ids(tmp_path / "series.csv").column_names == ["0"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", "id,title\n1,São\n".encode("utf-16-le"), "zero byte.*save it as UTF-8"),
        ("t.json", b'{"id": 1}', "a list of objects, one per row"),
        ("t.json", b"[1, 2]", "row 0 is a number, not an object.*a list of objects, one per row"),
        ("t.json", b"[", "is not valid JSON"),
        ("t.jsonl", b'{"id": 1}\n{"id": }\n', "line 2 is not valid JSON"),
    ],
)
def test_faults_are_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpaceError, match=words):
        read_table(tmp_path / name)


def test_a_key_that_the_first_row_lacks_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps([{"id": 1}, {"id": 2, "title": "B"}]))
    assert read_table(tmp_path / "t.json")["title"].to_pylist() == [None, "B"]


# ---- columns


def test_what_stands_for_unknown() -> None:
    table = pa.table({"id": ["?", "b", "c"], "year": ["1990", "?", "1992"], "plays": [5, -1, 7], "score": [0.5, -1, 1]})
    read = Columns(null_values=["?", "-1"]).apply(table.set_column(0, "id", pa.array(["a", "b", "c"])), "t")
    assert read["year"].to_pylist() == [1990, None, 1992]  # numbers, now that the question mark is gone
    assert read["plays"].to_pylist() == [5, None, 7]
    assert read["score"].to_pylist() == [0.5, None, 1]


def test_accents_are_one_sign() -> None:
    apart = "Sa\u0303o Paulo"
    read = Columns().apply(pa.table({"id": [apart], "city": [apart]}), "t").to_pylist()[0]
    assert read == {"id": apart, "city": "S\u00e3o Paulo"}


@pytest.mark.parametrize("text", ["['a b', 'c, d']", '["a b", "c, d"]', '["a b", null, "c, d"]'])
def test_a_list_written_as_text(text: str) -> None:
    read = Columns(list_columns={"tags": ","}).apply(pa.table({"tags": [text, "[]", "[x", None]}), "t")
    assert read["tags"].to_pylist() == [["a b", "c, d"], [], ["[x"], []]


def test_a_list_column_that_is_never_parted_is_told() -> None:
    told: list[str] = []
    Columns(list_columns={"tags": ","}).apply(pa.table({"tags": ["a|b", "c"]}), "t", told.append)
    assert told == ["note: no value of list column 'tags' contains the separator ',', such as 'a|b'"]


# ---- ids


@pytest.mark.parametrize("name", ["ids.txt", "ids.json", "ids.npy", "ids.csv"])
def test_ids_of_every_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "ids.npy":
        np.save(path, np.array([7, 8, 10]))
    else:
        path.write_text({"txt": "7\n8\n10\n\n", "json": "[7, 8, 10]", "csv": "sku\n7\n8\n10\n"}[name[4:]])
    assert identified(read_ids(path), None, name)["id"].to_pylist() == ["7", "8", "10"]


def test_ids_that_are_none(tmp_path: Path) -> None:
    np.save(tmp_path / "square.npy", np.zeros((2, 2)))
    with pytest.raises(SpaceError, match=r"ids must be a list \[N\], not float64 of shape \(2, 2\)"):
        read_ids(tmp_path / "square.npy")
    np.save(tmp_path / "objects.npy", np.array(["a", None], object), allow_pickle=True)
    with pytest.raises(SpaceError, match="cannot be read"):  # a pickle is never opened
        read_ids(tmp_path / "objects.npy")
    (tmp_path / "broken.json").write_text("[")
    with pytest.raises(SpaceError, match="cannot be read"):
        read_ids(tmp_path / "broken.json")
    with pytest.raises(SpaceError, match=r"row 1 has no id \(1 such rows\); add the id"):
        check_unique(pa.chunked_array([["a", None]]), "t")


def test_a_clash_of_columns_says_how_to_mend_it() -> None:
    own, facts = pa.table({"id": ["a"], "title": ["A"]}), pa.table({"id": ["a"], "title": ["B"]})
    with pytest.raises(
        SpaceError, match=r"the file of the vectors has columns title too; .*--rename title=other_title"
    ):
        join(own, facts, "t", "error")
    left, renamed = Columns({"title": "other_title"}).renamed(facts)
    assert left.rename == {}
    assert join(own, renamed, "t", "error")[0].to_pylist() == [{"id": "a", "title": "A", "other_title": "B"}]
