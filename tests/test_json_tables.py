"""JSON as databases, pandas and embedding services write it: one table, the right row in errors."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vectalk.errors import SpaceError
from vectalk.space.importing import json_tables
from vectalk.space.importing.readers import take
from vectalk.space.importing.tables import Columns, read_table

ROWS = [{"id": f"B{n:03d}", "title": f"Thing {n}", "price": 9.5 + n} for n in range(30)]
VECTORS = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)


def vector(row: int) -> list[float]:
    return [float(x) for x in VECTORS[row]]


def write(path: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def lines(rows: list[Any]) -> str:
    return "\n".join(map(json.dumps, rows)) + "\n"


FORMS = {
    "lines.jsonl": lines(ROWS),
    "lines.ndjson": lines(ROWS),
    "lines.json": lines(ROWS),
    "meta.json.gz": lines(ROWS),
    "literals.json": "\n".join(map(str, ROWS)),
    "list.json": json.dumps(ROWS),
    "list.jsonl": json.dumps(ROWS, indent=1),
    "indented.json": "\n".join(json.dumps(row, indent=1) for row in ROWS),
    "columns.json": json.dumps({name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]}),
    "lists.json": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
    "split.json": json.dumps({"columns": list(ROWS[0]), "index": [*range(30)], "data": [[*r.values()] for r in ROWS]}),
    "table.json": json.dumps({"schema": {"fields": []}, "data": ROWS}),
    "by_id.json": json.dumps({row["id"]: {"title": row["title"], "price": row["price"]} for row in ROWS}),
    "answer.json": json.dumps({"total": 30, "items": ROWS}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_one_table(tmp_path: Path, name: str) -> None:
    assert read_table(write(tmp_path / name, FORMS[name])).to_pylist() == ROWS


def test_kinds_that_change_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a batch of rows holds: text where kinds differ, lists where a value stands in the place of one."""
    monkeypatch.setattr(json_tables, "BATCH", 2)
    rows = [
        {"id": 1, "code": 12, "rating": 5, "tags": "x", "day": "2020-01-05", "big": 2**63},
        {"id": "a2", "code": "A12", "rating": 4.5, "tags": ["y", "z"], "day": None, "big": 1},
        {"id": 3.0, "code": None, "rating": None, "tags": None, "late": True, "big": 2},
        {"id": 4, "code": 7, "rating": 1, "tags": ["w"], "day": "2020-01-06T10:00:00", "big": 3},
    ]
    read = read_table(write(tmp_path / "t.jsonl", lines(rows)))
    assert read["id"].to_pylist() == ["1", "a2", "3", "4"]
    assert read["code"].to_pylist() == ["12", "A12", None, "7"]
    assert read["rating"].to_pylist() == [5, 4.5, None, 1]
    assert read["tags"].to_pylist() == [["x"], ["y", "z"], None, ["w"]]
    assert read["day"].to_pylist() == ["2020-01-05", None, None, "2020-01-06T10:00:00"]  # text, as it is written
    assert read["late"].to_pylist() == [None, None, True, None]
    assert read["big"].to_pylist() == [2**63, 1, 2, 3]


def test_large_whole_numbers_keep_their_digits(tmp_path: Path) -> None:
    read = read_table(write(tmp_path / "t.jsonl", lines([{"id": 2**64 - 1}, {"id": 2**70}, {"id": -1}])))
    assert read["id"].to_pylist() == [str(2**64 - 1), str(2**70), "-1"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.jsonl", lines(ROWS[:20]) + '{"id": }\n', "line 21 is not valid JSON"),
        ("t.jsonl", lines(ROWS[:20]) + "\n\n[1, 2]\n", "line 23 is a list, not an object"),
        ("t.json", lines(ROWS[:20]) + '{"id": 1\n', "line 21 is not valid JSON"),
        ("t.json", [*ROWS[:20], "x"], "row 20 is a text, not an object"),
        ("t.json", [], "has no rows"),
        ("t.json", "", "is not valid JSON|has no rows|list of objects"),
        ("t.json", {"a": [1, 2], "b": [1]}, "lists of 2 a, 1 b have different lengths"),
        ("t.json", {"a": 1}, "a table in json must be a list of objects"),
        ("t.json", "[" * 100_000, "cannot be read as json"),
        ("t.json", '[{"id": 1}] x', "is not valid JSON"),
        ("t.json", {"ids": [["a", "b"]], "embeddings": None, "documents": [["x", "y"]]}, "Chroma query.*get"),
        (
            "t.json",
            {"a": {"id": "b", "x": 1}, "c": {"id": "c", "x": 1}},
            "the object under the key 'a' has another id, 'b'",
        ),
    ],
)
def test_faults_are_named_by_their_row(tmp_path: Path, name: str, content: Any, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        read_table(write(tmp_path / name, content))


def test_a_json_in_another_encoding(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "t.jsonl").write_bytes('{"id": "é\u2028"}\n'.encode(encoding))
        assert read_table(tmp_path / "t.jsonl")["id"].to_pylist() == ["é\u2028"]
    (tmp_path / "t.jsonl").write_bytes('{"id": "é"}\n'.encode("cp1252"))
    with pytest.raises(SpaceError, match="not in UTF-8; save it as UTF-8"):
        read_table(tmp_path / "t.jsonl")


# ---- stores and services

FACTS = [{"title": row["title"], "price": row["price"]} for row in ROWS]
NAMED = [(row["id"], facts, vector(n)) for n, (row, facts) in enumerate(zip(ROWS, FACTS, strict=True))]
STORES = {
    "chroma": {
        "ids": [name for name, _, _ in NAMED],
        "embeddings": [values for _, _, values in NAMED],
        "metadatas": FACTS,
        "documents": ["d"] * 30,
        "uris": None,
        "included": ["embeddings"],
    },
    "qdrant": [{"id": name, "payload": facts, "vector": values, "shard_key": None} for name, facts, values in NAMED],
    "qdrant's answer": {
        "result": {"points": [{"id": i, "payload": facts, "vector": {"image": v}} for i, facts, v in NAMED]},
        "status": "ok",
    },
    "pinecone": {"vectors": {i: {"id": i, "values": values, "metadata": facts} for i, facts, values in NAMED}},
    "weaviate": [{"id": name, "properties": facts, "vector": values} for name, facts, values in NAMED],
    "elasticsearch": lines([{"_id": name, "_source": {**facts, "v": values}} for name, facts, values in NAMED]),
    "mongodb": lines([{"_id": {"$oid": name}, **facts, "v": values} for name, facts, values in NAMED]),
}


@pytest.mark.parametrize("store", STORES)
def test_stores_bring_ids_titles_and_vectors(tmp_path: Path, store: str) -> None:
    read = take(write(tmp_path / "store.json", STORES[store]))
    entities = read.entities.to_pylist()
    assert [row["id"] for row in entities] == [row["id"] for row in ROWS]
    assert [row["title"] for row in entities] == [row["title"] for row in ROWS]
    assert [row["price"] for row in entities] == [row["price"] for row in ROWS]
    np.testing.assert_array_equal(read.vectors, VECTORS)


def batch(row: int, **other: Any) -> dict[str, Any]:
    body = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector(row)}]}
    response = {"status_code": 200, "body": body}
    return {"id": f"batch_req_{row}", "custom_id": ROWS[row]["id"], "response": response, "error": None, **other}


def test_the_output_of_a_batch_is_known_by_its_own_ids(tmp_path: Path) -> None:
    """A batch is not answered in its order; a request that failed has no vector."""
    order = np.random.default_rng(1).permutation(30)
    read = take(write(tmp_path / "batch.jsonl", lines([batch(int(row)) for row in order])))
    assert read.entities["id"].to_pylist() == [ROWS[row]["id"] for row in order]
    np.testing.assert_array_equal(read.vectors, VECTORS[order])
    replies = [
        batch(n) if n != 7 else batch(n, response={"status_code": 429, "body": {"error": {}}}) for n in range(30)
    ]
    path = write(tmp_path / "batch.jsonl", lines(replies))
    with pytest.raises(SpaceError, match=r"row 7 of column 'embedding' has no vector \(1 such rows\).*--drop-bad-rows"):
        take(path)
    read = take(path, drop_bad_rows=True)
    assert read.entities["id"].to_pylist() == [row["id"] for n, row in enumerate(ROWS) if n != 7]
    several = batch(0)
    several["response"]["body"]["data"] *= 2
    with pytest.raises(SpaceError, match=r"line 2: request 'B000' has 2 vectors but only one id"):
        take(write(tmp_path / "batch.jsonl", lines([batch(1), several])))


def test_embeddings_come_in_the_order_of_their_texts(tmp_path: Path) -> None:
    data = [{"object": "embedding", "index": row, "embedding": vector(row)} for row in (2, 0, 1)]
    read = take(
        write(tmp_path / "reply.json", {"object": "list", "data": data, "model": "m", "usage": {"total_tokens": 3}})
    )
    assert read.entities["id"].to_pylist() == ["0", "1", "2"]
    np.testing.assert_array_equal(read.vectors, VECTORS[:3])


def test_named_vectors_are_told_apart(tmp_path: Path) -> None:
    points = [{"id": n, "payload": {}, "vector": {"image": vector(n), "text": vector(n)[::-1]}} for n in range(5)]
    path = write(tmp_path / "points.json", points)
    with pytest.raises(SpaceError, match=r"name one with --key: vector\.image, vector\.text"):
        take(path)
    np.testing.assert_array_equal(take(path, key="text").vectors, VECTORS[:5, ::-1])


def test_a_payload_of_objects_is_flattened(tmp_path: Path) -> None:
    payload = {"title": "A", "maker": {"name": "Acme", "place": {"city": "Rome"}}, "id": 9, "tags": [{"name": "x"}]}
    points = [{"id": n, "payload": payload, "vector": vector(n)} for n in range(3)]
    read = take(write(tmp_path / "points.json", points)).entities.to_pylist()[0]
    expected = {
        "id": "0",
        "title": "A",
        "maker.name": "Acme",
        "maker.place.city": "Rome",
        "payload.id": 9,
        "tags": ["x"],
    }
    assert read == expected


def test_two_values_of_one_name_are_an_error(tmp_path: Path) -> None:
    rows = [{"id": 1, "a": {"b": 1}, "a.b": 2}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    write(tmp_path / "t.json", rows)
    for name in ("t.parquet", "t.json"):
        with pytest.raises(SpaceError, match=r"has two (columns|values) called 'a\.b'"):
            read_table(tmp_path / name)
    rows = [{"id": 1, "payload": {"title": "A"}, "metadata": {"title": "B"}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    write(tmp_path / "t.json", rows)
    for name in ("t.parquet", "t.json"):
        assert read_table(tmp_path / name).to_pylist() == [{"id": 1, "title": "A", "metadata.title": "B"}]


def test_structs_of_parquet_are_flattened_alike(tmp_path: Path) -> None:
    rows = [{"id": "a", "payload": {"title": "A", "place": {"city": "Rome"}, "id": 1}}, {"id": "b", "payload": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    write(tmp_path / "t.json", rows)
    expected = [
        {"id": "a", "title": "A", "place.city": "Rome", "payload.id": 1},
        {"id": "b", "title": None, "place.city": None, "payload.id": None},
    ]
    for name in ("t.parquet", "t.json"):
        assert read_table(tmp_path / name).to_pylist() == expected


def test_python_s_own_writing_is_read_and_never_run(tmp_path: Path) -> None:
    write(tmp_path / "t.json", "{'id': 1, 'title': \"It's\"}\n{'id': 2, 'title': None}\n")
    assert read_table(tmp_path / "t.json").to_pylist() == [{"id": 1, "title": "It's"}, {"id": 2, "title": None}]
    write(tmp_path / "t.jsonl", "{'id': __import__('os').getpid()}\n{'id': 2}\n")
    with pytest.raises(SpaceError, match="line 1 is not valid JSON"):
        read_table(tmp_path / "t.jsonl")


def test_nan_is_unknown_and_no_id(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", '{"id": 1, "v": [1, 2], "price": NaN}\n{"id": NaN, "v": [3, 4], "price": 1}\n')
    with pytest.raises(SpaceError, match="row 1 has no id"):
        take(path)
    path = write(tmp_path / "t.jsonl", '{"id": 1, "v": [NaN, NaN]}\n{"id": 2, "v": [3, 4]}\n')
    assert take(path, drop_bad_rows=True).entities.to_pylist() == [{"id": "2"}]


def test_titles_that_are_dates_are_text(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", lines([{"id": "a", "title": "2020-01-05", "v": [1, 2]}]))
    assert Columns().apply(read_table(path), "t")["title"].to_pylist() == ["2020-01-05"]
