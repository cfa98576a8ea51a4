"""Vectors in the columns of a table: one vector per cell, or one column per dimension."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pyarrow as pa

from vectalk.errors import SpaceError
from vectalk.space.importing.canonical import is_bytes, is_text
from vectalk.space.importing.tables import column
from vectalk.space.importing.vector_cells import is_number, number_of, stacked
from vectalk.space.importing.vector_files import choose
from vectalk.space.importing.vector_text import looks_like_vectors

_NUMBERED = re.compile(r"^(.*?)(\d+)$")
_CALLED = re.compile(r"vec|emb|feature|factor|latent", re.IGNORECASE)  # names of columns of bytes that may be vectors


@dataclass(frozen=True)
class Vectors:
    """Vectors that were read from a file.

    Attributes:
        values: [N, D]; rows without a vector are NaN.
        others: the other columns of the file, one row per vector; None if there are none.
        missing: rows without a vector.
        named: name of the vectors in the file.
    """

    values: np.ndarray
    others: pa.Table | None
    missing: np.ndarray
    named: str


def vectors_of(table: pa.Table, key: str | None, path: Path) -> Vectors:
    """Return the vectors of a table, and its other columns.

    Args:
        table: one row per vector.
        key: the column of lists, texts, tensors or bytes, or a pattern such as `dim_*` for columns with one dimension
            each. If omitted, there must be exactly one column that looks like vectors, or columns `0`, `1`, ...
        path: the file, for errors.

    Raises:
        SpaceError: there is no such column, or a row has a vector of another length.
    """
    if key is not None and re.search(r"[*?\[]", key) and key not in table.column_names:
        return _wide(table, _matching(table, key, path), path, key)
    name = _guess(table, path) if key is None else _named_column(table, key, path)
    if name is None:
        return _wide(table, _dimensions(table), path, "0, 1, ...")
    if name.endswith(".values") and f"{name.removesuffix('values')}indices" in table.column_names:
        return _sparse(table, name.removesuffix(".values"), path)
    kind = table[name].type
    if not (is_text(kind) or is_bytes(kind) or number_of(kind) is not None):
        raise SpaceError(f"{path}: column {name!r} holds {kind}, which is not vectors; {_advice(table.column_names)}")
    values, missing = stacked(table[name], f"column {name!r}", path)
    return Vectors(values, table.drop_columns([name]), missing, name)


def _named_column(table: pa.Table, key: str, path: Path) -> str:
    """Return the column called `key`, or else the only column called `X.key`, such as `vector.image` for `image`."""
    inner = [name for name in table.column_names if name.endswith(f".{key}")]
    return inner[0] if key not in table.column_names and len(inner) == 1 else column(table, key, str(path))


def _guess(table: pa.Table, path: Path) -> str | None:
    """Return the column of the vectors, or None if each dimension has its own column.

    Raises:
        SpaceError: no column, or several columns, look like vectors.
    """
    kinds = {name: table[name].type for name in table.column_names}
    numbers = {name: number for name, kind in kinds.items() if (number := number_of(kind)) is not None}
    floats = [name for name, number in numbers.items() if not pa.types.is_integer(number)]
    texts = [name for name, kind in kinds.items() if is_text(kind) and looks_like_vectors(table[name])]
    called = [name for name, kind in kinds.items() if is_bytes(kind) and _CALLED.search(name)]
    for candidates in (floats, list(numbers), texts):
        if candidates:
            return choose(candidates, None, path, "column of vectors", "columns that look like vectors")
    if _dimensions(table):
        return None
    if called:
        return choose(called, None, path, "column of vectors", "columns that look like vectors")
    raise SpaceError(f"{path} has no column of vectors; {_advice(table.column_names)}")


def _dimensions(table: pa.Table) -> list[str]:
    """Return the columns named by the numbers of the dimensions, such as `0` to `7` or `v.0` to `v.7`, in order."""
    stems: dict[str, dict[int, str]] = {}
    for name in table.column_names:
        match = _NUMBERED.match(name)
        if (
            match
            and (not match[1] or "." in match[1])
            and str(int(match[2])) == match[2]
            and is_number(table[name].type)
        ):
            stems.setdefault(match[1], {})[int(match[2])] = name
    whole = [
        [names[number] for number in sorted(names)]
        for names in stems.values()
        if len(names) > 1 and sorted(names) in (list(range(len(names))), list(range(1, len(names) + 1)))
    ]
    return whole[0] if len(whole) == 1 else []


def _advice(names: list[str]) -> str:
    stems = Counter(match.group(1) for name in names if (match := _NUMBERED.match(name)))
    stem = stems.most_common(1)[0] if stems else ("", 0)
    if stem[1] >= 4:
        return f"if each dimension has its own column, name all of them with --key '{stem[0] or '[0-9]'}*'"
    examples = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return (
        "name the column of lists of numbers (or of text such as '[0.1, 0.2]') with --key, or columns of one "
        f"dimension each with --key 'dim_*'; the columns are {examples}"
    )


def _matching(table: pa.Table, pattern: str, path: Path) -> list[str]:
    """Return the columns that match a pattern, sorted by the numbers at the end of their names."""
    names = [name for name in table.column_names if fnmatchcase(name, pattern)]
    if not names:
        raise SpaceError(f"{path} has no columns {pattern!r}; {_advice(table.column_names)}")
    wrong = [name for name in names if not (is_number(table[name].type) or pa.types.is_null(table[name].type))]
    if wrong:
        raise SpaceError(
            f"{path}: --key {pattern!r} matches column {wrong[0]!r}, which holds {table[wrong[0]].type}, not numbers; "
            "use a narrower pattern"
        )
    numbered = {name: match for name in names if (match := _NUMBERED.match(name))}
    stems = {match[1] for match in numbered.values()}
    other = next((name for name in names if name not in numbered), None)
    if numbered and (other is not None or len(stems) > 1):
        first = next(iter(numbered))
        odd = other or next(name for name, match in numbered.items() if match[1] != numbered[first][1])
        raise SpaceError(
            f"{path}: --key {pattern!r} matches both column {first!r} and column {odd!r}; use a narrower pattern, "
            f"e.g. '{numbered[first][1]}[0-9]*'"
        )
    return sorted(names, key=lambda name: int(numbered[name][2])) if numbered else names


def _wide(table: pa.Table, names: list[str], path: Path, called: str) -> Vectors:
    """Return vectors from columns with one dimension each; a row in which all of them are empty has no vector."""
    # A gap in a column becomes NaN, which is reported as a bad row.
    columns = [np.asarray(table[name].cast(pa.float64()).to_numpy(), np.float32) for name in names]
    values = np.stack(columns, axis=1)
    missing = np.flatnonzero(np.isnan(values).all(axis=1))
    if len(missing) == len(values):
        raise SpaceError(f"{path}: columns {called} have no vector in any row")
    return Vectors(values, table.drop_columns(names), missing, f"{names[0]} ... {names[-1]}")


def _sparse(table: pa.Table, stem: str, path: Path) -> Vectors:
    """Return dense vectors from the sparse or dense vectors of Spark (size, indices, values)."""
    if f"{stem}.size" not in table.column_names:
        raise SpaceError(f"{path}: column {stem!r} has sparse vectors without their length; save dense vectors")
    fields = [table[f"{stem}.{name}"].to_pylist() for name in ("size", "indices", "values")]
    vectors: list[np.ndarray | None] = []
    for row, (size, indices, values) in enumerate(zip(*fields, strict=True)):
        if values is None or (indices is None and not values):
            vectors.append(None)
        elif indices is None or size is None:
            vectors.append(np.asarray(values, np.float32))
        elif len(indices) != len(values) or not all(0 <= place < size for place in indices):
            raise SpaceError(
                f"{path}: row {row} of column {stem!r} is not a sparse vector of {size} numbers; save dense vectors"
            )
        else:
            vectors.append(np.zeros(size, np.float32))
            vectors[-1][indices] = values  # type: ignore[index]
    lists = pa.chunked_array([pa.array(vectors, pa.list_(pa.float32()))])
    values, missing = stacked(lists, f"column {stem!r}", path)
    there = [name for name in table.column_names if name.startswith(f"{stem}.")]
    return Vectors(values, table.drop_columns(there), missing, stem)
