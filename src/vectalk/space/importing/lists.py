"""Columns of lists: text that a separator splits, lists written as text, and one field of lists of objects."""

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

FIELDS = ("name", "title", "label", "value", "text")  # default fields that name an object in a list
_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_OBJECTS = re.compile(r"\s*\[\s*(\{.*\}\s*)?\]\s*", re.DOTALL)


def lists_of(values: pa.ChunkedArray, sign: str, where: str) -> pa.Array:
    """Return a column as lists of text, without repeated values.

    Args:
        values: text such as `Comedy|Drama`, `['Comedy', 'Drama']`, `{Comedy,Drama}` or
            `[{'id': 35, 'name': 'Comedy'}]`; or lists of text or of structs.
        sign: the separator of the values, or the field of the objects to use (`name` if they have no such field).
        where: name of file and column in errors.

    Raises:
        SpaceError: the column has another type, or a list cannot be read.
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
    items = [[_flat(item) if isinstance(item, dict) else item for item in row] for row in items]
    fields = list(dict.fromkeys(str(key) for row in items for item in row if isinstance(item, dict) for key in item))
    field = field_of(fields, sign, where) if fields else ""
    try:
        words = [[_word(item.get(field) if isinstance(item, dict) else item) for item in row] for row in items]
    except SpaceError:
        which = f"field {field!r}" if field else "its lists"
        raise SpaceError(f"{where}: {which} has lists inside, which cannot be read; give it text or numbers") from None
    # An unknown list is an empty list, so that "no genres" and "genres unknown" are the same case.
    return pa.array([list(dict.fromkeys(filter(None, map(str.strip, row)))) for row in words], pa.list_(pa.string()))


def named_objects(values: pa.ChunkedArray, where: str) -> tuple[pa.Array, str] | None:
    """Return a column of lists of objects as lists of names, and the field of the names.

    Returns None if the column has no lists of objects, or cannot be read as such.
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


def field_of(fields: list[str], preferred: str, where: str) -> str:
    """Return the field that names objects: the preferred one, else one of `FIELDS`, else the only one."""
    for field in (preferred, *FIELDS, *(fields if len(fields) == 1 else ())):
        if field in fields:
            return field
    raise SpaceError(
        f"{where} has objects with the fields {', '.join(fields)}; name one of them, e.g. --list-column "
        f"'COLUMN:{fields[0] if fields else 'name'}'"
    )


def note_unsplit(lists: pa.Array, texts: pa.ChunkedArray, name: str, sign: str, tell: Callable[[str], None]) -> None:
    """Call `tell` if the separator splits no value of a text column, because the separator may be wrong."""
    if is_text(texts.type) and len(lists) and not any(len(one) > 1 for one in lists.to_pylist()):
        example = next((value for value in texts.to_pylist() if value), None)
        tell(f"note: no value of list column {name!r} contains the separator {sign!r}, such as {example!r}")


def _fields(kind: pa.StructType) -> list[str]:
    names = []
    for place in range(kind.num_fields):
        field = kind.field(place)
        nested = _fields(field.type) if pa.types.is_struct(field.type) else []
        names += [f"{field.name}.{name}" for name in nested] or [field.name]
    return names


def _flat(item: dict[Any, Any]) -> dict[str, Any]:
    """Return an object without inner objects: the fields of these are called `outer.inner`."""
    values: dict[str, Any] = {}
    for key, value in item.items():
        if isinstance(value, dict) and value:
            values |= {f"{key}.{inner}": one for inner, one in _flat(value).items()}
        else:
            values[str(key)] = value
    return values


def _word(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return str(as_text(pa.chunked_array([pa.array([value])]))[0].as_py() or "")


def _items(text: str, sign: str, where: str) -> list[Any]:
    """Return the values of a list that was written as text."""
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
                raise SpaceError(f"{where}: {inner[:60]!r} is not a readable array: {error}") from None
            return [item for item in items if item != "NULL"]
    if re.match(r"\[?\s*\{\s*['\"]", inner):
        excerpt = inner if len(inner) < 60 else f"{inner[:60]}..."
        raise SpaceError(f"{where}: {excerpt!r} is not a readable list of objects; correct it or leave it empty")
    return text.split(sign)


def _strings(inner: str) -> list[str] | None:
    """Return the strings of a list as numpy prints it, without commas; None if it is not such a list."""
    rest = _STRING.sub("", inner)
    strings = _STRING.findall(inner)
    if len(strings) < 2 or rest.strip():
        return None
    words = [_literal(text) for text in strings]
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
