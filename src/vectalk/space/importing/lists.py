"""Columns of lists: text parted at a sign, lists written as text, and lists of objects, of which one field counts."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from vectalk.errors import SpaceError
from vectalk.space.importing.canonical import as_text, is_list, is_text
from vectalk.space.importing.text_files import literal_of

FIELDS = ("name", "title", "label", "value", "text")  # what an object in a list is called by, where nothing is said
_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_OBJECTS = re.compile(r"\s*\[\s*(\{.*\}\s*)?\]\s*", re.DOTALL)


def lists_of(values: pa.ChunkedArray, sign: str, where: str) -> pa.Array:
    """Return a column as lists of text, each value once.

    Args:
        values: text such as `Comedy|Drama`, `['Comedy', 'Drama']`, `{Comedy,Drama}` or
            `[{'id': 35, 'name': 'Comedy'}]`; or lists already, of text or of structs.
        sign: what parts the values, or the field of the objects that is taken; `name` where they have no such field.
        where: names file and column in errors.

    Raises:
        SpaceError: the column holds something else, or a list that cannot be read.
    """
    if is_list(values.type):
        items = [one or [] for one in values.to_pylist()]
    elif is_text(values.type):
        rows = enumerate(values.to_pylist())
        items = [[] if text is None else _items(text, sign, f"{where}, row {row}") for row, text in rows]
    elif pa.types.is_null(values.type):
        items = [[]] * len(values)
    else:
        raise SpaceError(f"{where} holds {values.type}, not text to split at {sign!r}")
    fields = list(dict.fromkeys(str(key) for row in items for item in row if isinstance(item, dict) for key in item))
    field = field_of(fields, sign, where) if fields else ""
    words = [[_word(item.get(field) if isinstance(item, dict) else item) for item in row] for row in items]
    # Unknown is an empty list: then "has no genres" and "genres unknown" need no two treatments.
    return pa.array([list(dict.fromkeys(filter(None, map(str.strip, row)))) for row in words], pa.list_(pa.string()))


def named_objects(values: pa.ChunkedArray, where: str) -> tuple[pa.Array, str] | None:
    """Return a column of lists of objects as lists of their names, and the field that was taken; None where it is none.

    What cannot be read as such is left to the reader as it is.
    """
    kind = values.type
    try:
        if is_list(kind) and pa.types.is_struct(kind.value_type):
            field = field_of(_fields(kind.value_type), "", where)
            return lists_of(values, field, where), field
        if not is_text(kind):
            return None
        texts = [text for text in values.to_pylist() if text]
        if not any("{" in text for text in texts) or not all(_OBJECTS.fullmatch(text) for text in texts):
            return None
        first = next(parts for text in texts if (parts := _objects(text)))
        field = field_of([str(key) for key in first[0]], "", where)
        return lists_of(values, field, where), field
    except (SpaceError, StopIteration):
        return None


def field_of(fields: list[str], wanted: str, where: str) -> str:
    """Return the field that objects are called by: the wanted one, `name`, or the only one."""
    for field in (wanted, *FIELDS, *(fields if len(fields) == 1 else ())):
        if field in fields:
            return field
    raise SpaceError(
        f"{where} holds objects of {', '.join(fields)}; say which of these is meant, e.g. --list-column "
        f"'COLUMN:{fields[0] if fields else 'name'}'"
    )


def note_unparted(lists: pa.Array, texts: pa.ChunkedArray, name: str, sign: str, tell: Callable[[str], None]) -> None:
    """Say so where no value of a column of text was parted: the sign may be another."""
    if is_text(texts.type) and len(lists) and not any(len(one) > 1 for one in lists.to_pylist()):
        example = next((value for value in texts.to_pylist() if value), None)
        tell(f"note: no value of list column {name!r} was parted by {sign!r}, e.g. not {example!r}")


def _fields(kind: pa.StructType) -> list[str]:
    return [kind.field(place).name for place in range(kind.num_fields)]


def _word(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return str(as_text(pa.chunked_array([pa.array([value])]))[0].as_py() or "")


def _items(text: str, sign: str, where: str) -> list[Any]:
    """Return what stands in a list that was written as text."""
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        strings = _strings(inner[1:-1])
        if strings is not None:
            return strings
        value = _literal(inner)
        if isinstance(value, list):
            return value
    if inner.startswith("{") and inner.endswith("}"):
        value = _literal(inner)
        if isinstance(value, dict):
            return [value] if value else []
        if not re.match(r"\{\s*['\"]?\w+['\"]?\s*:", inner):  # an array as PostgreSQL writes it
            try:
                items = next(csv.reader([" ".join(inner[1:-1].split())], escapechar="\\"))
            except csv.Error as error:
                raise SpaceError(f"{where}: {inner[:60]!r} is no array that can be read: {error}") from None
            return [item for item in items if item != "NULL"]
    if re.match(r"\[?\s*\{\s*['\"]", inner):
        shown = inner if len(inner) < 60 else f"{inner[:60]}..."
        raise SpaceError(f"{where}: {shown!r} is no list of objects that can be read; mend or empty it")
    return text.split(sign)


def _strings(inner: str) -> list[str] | None:
    """Return the strings of a list that numpy printed, which has no commas between them; None where it is another."""
    rest = _STRING.sub("", inner)
    found = _STRING.findall(inner)
    if len(found) < 2 or rest.strip():
        return None
    words = [_literal(string) for string in found]
    return words if all(isinstance(word, str) for word in words) else None


def _literal(text: str) -> Any:
    for read in (json.loads, literal_of):
        try:
            return read(text)
        except (ValueError, RecursionError):
            continue
    return None


def _objects(text: str) -> list[dict[Any, Any]]:
    value = _literal(text)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
