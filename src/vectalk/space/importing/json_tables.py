"""Read tables from JSON: a list of objects, one object per line, or the forms of databases, pandas and services."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from vectalk.errors import SpaceError
from vectalk.space.importing.json_shapes import flat, rows_of_document
from vectalk.space.importing.merge import merged
from vectalk.space.importing.text_files import encoding_of, lines_of, literal_of, text_of

BATCH = 4096  # rows that are Python objects at the same time
_SPACE = re.compile(r"\s+")
EXPECTED = (
    "a table in json must be a list of objects, one per row: [{'id': ..., 'title': ...}, ...], or one object per line"
)


def read_json(path: Path, *, lines: bool, encoding: str | None = None) -> pa.Table:
    """Read a table from JSON; objects within a row become columns called `outer.inner`.

    Args:
        path: the file, also gzipped.
        lines: whether each line should be a row, by the ending of the file. Other forms are recognised.
        encoding: encoding of the file; if omitted, UTF-8 or that of its byte order mark.

    Raises:
        SpaceError: the file is not JSON, or not a table; the error names the line or row.
    """
    encoding = encoding_of(path, encoding)
    if encoding == "cp1252":
        raise SpaceError(f"{path} is not in UTF-8; save it as UTF-8")
    first = next((line.strip() for line in lines_of(path, encoding) if line.strip()), "")
    if lines and not first.startswith("["):
        return _table(_rows(path, encoding), path)
    if not lines and first.startswith("{") and first.endswith("}") and _several_lines(path, encoding):
        return _table(_rows(path, encoding), path)
    return _table(((f"row {row}", value) for row, value in enumerate(_document(path, encoding))), path)


def _several_lines(path: Path, encoding: str) -> bool:
    """Return whether a file has at least two lines that are not blank, and the first is a complete object."""
    there = (line for line in lines_of(path, encoding) if line.strip())
    first, second = next(there, None), next(there, None)
    if first is None or second is None:
        return False
    try:
        return isinstance(_read(first), dict)
    except ValueError:
        return False


def _rows(path: Path, encoding: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines_of(path, encoding), 1):
        if line.strip():
            try:
                yield f"line {number}", _read(line)
            except json.JSONDecodeError as error:
                raise SpaceError(f"{path}, line {number} is not valid JSON: {error}") from None
            except ValueError as error:
                raise SpaceError(f"{path}, line {number}: {error}") from None


def _read(text: str) -> Any:
    """Return the value of a line of JSON, or of a Python literal, as in some published files."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith(("{'", "{u'")):
            raise
        try:
            return literal_of(text.strip())
        except ValueError:
            raise error from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raise a ValueError if it has two values under one key, of which one would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        both = " and ".join(json.dumps(value, ensure_ascii=False)[:40] for name, value in pairs if name == twice)
        raise ValueError(f"an object has the key {twice!r} more than once, with {both}; rename or remove all but one")
    return values


def _document(path: Path, encoding: str) -> list[Any]:
    """Return the rows of a file with one JSON value, or with several values after each other."""
    text = text_of(path, encoding).strip()
    decoder, values, at = json.JSONDecoder(object_pairs_hook=_object), [], 0
    try:
        while at < len(text):
            value, end = decoder.raw_decode(text, at)
            values.append(value)
            space = _SPACE.match(text, end)
            at = space.end() if space else end
    except json.JSONDecodeError as error:
        raise SpaceError(f"{path} is not valid JSON: {error}") from None
    except ValueError as error:
        raise SpaceError(f"{path}: {error}") from None
    return rows_of_document(values[0], f"{path}: {EXPECTED}") if len(values) == 1 else values


def _table(rows: Iterable[tuple[str, Any]], path: Path) -> pa.Table:
    """Return a table of rows; each row comes with its place in the file, for errors."""
    tables, batch = [], []
    for place, row in rows:
        if not isinstance(row, dict):
            raise SpaceError(f"{path}, {place} is {_kind(row)}, not an object; {EXPECTED}")
        batch.append(flat(row, f"{path}, {place}"))
        if len(batch) == BATCH:
            tables.append(_columns(batch, path))
            batch = []
    if batch:
        tables.append(_columns(batch, path))
    if not tables:
        raise SpaceError(f"{path} has no rows")
    return merged(tables, str(path))


def _columns(rows: list[dict[str, Any]], path: Path) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    """Return values as a column; values of several types become text, or lists of text."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        pass
    there = [value for value in values if value is not None]
    if all(isinstance(value, int) and not isinstance(value, bool) for value in there):
        return _texts(values) if any(not 0 <= value < 2**64 for value in there) else pa.array(values, pa.uint64())
    if any(isinstance(value, list) for value in there):  # one value, or a list of them
        lists = [value if isinstance(value, list) or value is None else [value] for value in values]
        return pa.array(
            [None if one is None else [_text(item) for item in one] for one in lists], pa.list_(pa.string())
        )
    return _texts(values)


def _texts(values: list[Any]) -> pa.Array:
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")
