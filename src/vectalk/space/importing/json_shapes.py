"""Turn the JSON of databases, pandas and embedding services into plain rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from vectalk.errors import SpaceError

# Objects whose fields become columns of the row: Qdrant, Chroma and LangChain, Weaviate, Elasticsearch.
WRAPPERS = ("payload", "metadata", "properties", "_source")
QDRANT = {"id", "payload", "vector", "vectors", "shard_key", "order_value", "version", "score"}


def rows_of_document(value: Any, expected: str) -> list[Any]:
    """Return the rows of a whole JSON document.

    Args:
        value: a list of objects; what Chroma's `get`, Qdrant's API, Pinecone's `fetch` and OpenAI's embeddings return;
            or a frame as pandas writes it with `to_json`, whatever its `orient`.
        expected: description of a correct file, for errors.

    Raises:
        SpaceError: `value` is none of these.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        raise SpaceError(expected)
    if isinstance(value.get("ids"), list) and value.keys() & {"embeddings", "metadatas", "documents"}:
        return _chroma(value, expected)
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):  # orient="split"
        return _split(value, expected)
    if isinstance(value.get("result"), dict | list):
        return rows_of_document(value["result"], expected)
    if isinstance(value.get("vectors"), dict) and all(isinstance(one, dict) for one in value["vectors"].values()):
        return _by_id(value["vectors"], expected)
    lists = {name: one for name, one in value.items() if isinstance(one, list)}
    rows = [one for one in lists.values() if one and all(isinstance(row, dict) for row in one)]
    if len(rows) == 1:
        return _in_order(rows[0]) if value.get("object") == "list" else rows[0]
    if len(lists) == len(value):  # orient="list"
        return _of_columns(lists, expected)
    if all(isinstance(one, dict) for one in value.values()):
        return _of_objects(value, expected)
    raise SpaceError(expected)


def flat(row: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a row without nested objects.

    A field of `payload` or `metadata` keeps its name; a field of any other object is called `outer.inner`. A line of
    OpenAI's batch output becomes the id of its request and the vector.

    Raises:
        SpaceError: two values would have the same name, or a request has several vectors.
    """
    if "custom_id" in row and "response" in row:
        return _batch(row, where)
    if row.keys() <= QDRANT and "payload" in row:
        row = {name: value for name, value in row.items() if name in ("id", "payload", "vector", "vectors")}
    fields: dict[str, Any] = {}
    inner: list[tuple[str, str, Any]] = []
    for name, value in row.items():
        if name in WRAPPERS and isinstance(value, dict | None):
            inner += [(name, key, one) for key, one in flat(value or {}, where).items()]
        elif not isinstance(value, dict):
            _put(fields, str(name), value, where)
        elif len(value) < 2 and str(next(iter(value), "$")).startswith("$"):
            _put(fields, str(name), next(iter(value.values()), None), where)  # {"$oid": "..."}, as MongoDB has ids
        else:
            for key, one in flat(value, where).items():
                _put(fields, f"{name}.{key}", one, where)
    for name, key, value in inner:  # fields of the row itself keep their name
        _put(fields, f"{name}.{key}" if key in fields else key, value, where)
    return fields


def _put(fields: dict[str, Any], name: str, value: Any, where: str) -> None:
    if name in fields:
        raise SpaceError(f"{where} has two values called {name!r}; rename one of them")
    fields[name] = value


def _batch(row: dict[str, Any], where: str) -> dict[str, Any]:
    body = (row["response"] or {}).get("body") or {}
    data = body.get("data") or []
    if len(data) > 1:
        raise SpaceError(
            f"{where}: request {row['custom_id']!r} has {len(data)} vectors but only one id; send each text in "
            "its own request"
        )
    return {"id": row["custom_id"], "embedding": data[0].get("embedding") if data else None}


def _in_order(rows: list[Any]) -> list[Any]:
    """Return OpenAI's embeddings in the order of the texts that were sent."""
    if all(isinstance(row.get("index"), int) for row in rows):
        return [
            {"id": row["index"], "embedding": row.get("embedding")} for row in sorted(rows, key=lambda r: r["index"])
        ]
    return rows


def _chroma(value: dict[str, Any], expected: str) -> list[dict[str, Any]]:
    ids = value["ids"]
    if ids and isinstance(ids[0], list):
        raise SpaceError(
            f"{expected}; this is the result of a Chroma query; save that of collection.get(include=[...]) instead"
        )
    parts = {"embedding": "embeddings", "metadata": "metadatas", "document": "documents"}
    lists = {name: value[key] for name, key in parts.items() if isinstance(value.get(key), list)}
    return _of_columns({"id": ids, **lists}, expected)


def _split(value: dict[str, Any], expected: str) -> list[dict[str, Any]]:
    names, rows = value["columns"], value["data"]
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        raise SpaceError(expected)
    index = value.get("index")
    objects = [dict(zip(map(str, names), row, strict=True)) for row in rows]
    if isinstance(index, list) and len(index) == len(rows) and index != list(range(len(rows))):
        return [{"__index_level_0__": one, **row} for one, row in zip(index, objects, strict=True)]
    return objects


def _of_columns(columns: dict[str, list[Any]], expected: str) -> list[dict[str, Any]]:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise SpaceError(
            f"{expected}; lists of {', '.join(f'{n} {name}' for name, n in lengths.items())} have different lengths"
        )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _of_objects(value: dict[str, dict[str, Any]], expected: str) -> list[dict[str, Any]]:
    """Return rows from {column: {row: value}}, as pandas writes it, or {id: {column: value}}."""
    scalars = [one for inner in value.values() for one in inner.values()]
    keys = [list(inner) for inner in value.values()]
    same = all(set(one) == set(keys[0]) for one in keys)
    numbered = keys[0] == [str(place) for place in range(len(keys[0]))]
    if same and (numbered or (len(keys[0]) > len(value) and not any(isinstance(one, dict) for one in scalars))):
        rows = [{name: inner[key] for name, inner in value.items()} for key in keys[0]]
        return rows if numbered else [{"__index_level_0__": k, **row} for k, row in zip(keys[0], rows, strict=True)]
    if any(set(one) & set(other) for one, other in pairwise(keys)):
        return _by_id(value, expected)
    raise SpaceError(expected)


def _by_id(value: dict[str, dict[str, Any]], expected: str) -> list[dict[str, Any]]:
    rows = [{**({"id": key} if "id" not in inner else {}), **inner} for key, inner in value.items()]
    other = next((key for key, row in zip(value, rows, strict=True) if str(row["id"]) != key), None)
    if other is not None:
        raise SpaceError(
            f"{expected}; the object under the key {other!r} has another id, {value[other]['id']!r}; keep one of them"
        )
    return rows
