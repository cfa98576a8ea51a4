"""Vectors in the columns of a table: lists of numbers, text such as `[0.1, 0.2]`, or one column a dimension."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.importing.tables import column, is_list, is_text
from vectalk.space.importing.vector_files import choose

_BRACKETS = "[](){} \n\t"
_BETWEEN = r"\s*,\s*|\s+"  # what parts the numbers of a text
_NUMBERED = re.compile(r"^(.*?)(\d+)$")


def vectors_of(table: pa.Table, key: str | None, path: Path) -> tuple[np.ndarray, pa.Table]:
    """Return the vectors [N, D] of a table, and its other columns.

    Args:
        table: one row a vector.
        key: the column of lists or texts, or a pattern such as `dim_*` for columns that hold one dimension each;
            where it is omitted there must be one column that looks like vectors.
        path: named in errors.

    Raises:
        SpaceError: there is no such column, or a row of it holds no vector of the right length.
    """
    if key is not None and "*" in key and key not in table.column_names:
        return _wide(table, key, path)
    name = _guess(table, path) if key is None else column(table, key, str(path))
    values = table[name].combine_chunks()
    where = f"column {name!r}"
    if is_text(values.type):
        values = _parsed(values, where, path)
    if not (is_list(values.type) and _is_number(values.type.value_type)):
        raise SpaceError(f"{path}: {where} holds {values.type}, not lists of numbers; {_advice(table.column_names)}")
    return _stacked(values, where, path), table.drop_columns([name])


def _guess(table: pa.Table, path: Path) -> str:
    """Return the column that holds the vectors, or raise a SpaceError that says what there is."""
    kinds = {name: table[name].type for name in table.column_names}
    lists = [name for name, kind in kinds.items() if is_list(kind) and _is_number(kind.value_type)]
    floats = [name for name in lists if pa.types.is_floating(kinds[name].value_type)]
    texts = [name for name, kind in kinds.items() if is_text(kind) and _looks_like_vectors(table[name])]
    for found in (floats, lists, texts):
        if found:
            return choose(found, None, path, "column of vectors", "columns that look like vectors")
    raise SpaceError(f"{path} has no column of vectors; {_advice(table.column_names)}")


def _advice(names: list[str]) -> str:
    stems = Counter(match.group(1) for name in names if (match := _NUMBERED.match(name)))
    stem = stems.most_common(1)[0] if stems else ("", 0)
    if stem[1] >= 4:
        return f"for one column a dimension name them all with --key '{stem[0]}*'"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return (
        "name the column of lists of numbers (or of text such as '[0.1, 0.2]') with --key, or the columns of one "
        f"dimension each with --key 'dim_*'; there are {shown}"
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _looks_like_vectors(values: pa.ChunkedArray) -> bool:
    first = next((value.as_py() for value in values if value.is_valid), None)
    return first is not None and re.fullmatch(r"\s*[\[(][-+\d.eE,\s]+[\])]\s*", first) is not None


def _parsed(texts: pa.Array, where: str, path: Path) -> pa.Array:
    """Turn texts such as `[0.1, 0.2]` or `0.1 0.2` into lists of numbers."""
    bare = pc.utf8_trim(texts, _BRACKETS)
    lists = pc.split_pattern_regex(bare, _BETWEEN)
    try:
        numbers = lists.flatten().cast(pa.float32())
    except pa.ArrowInvalid:
        for row, text in enumerate(texts.to_pylist()):
            for part in re.split(_BETWEEN, (text or "0").strip(_BRACKETS)):
                if not _is_float(part):
                    raise SpaceError(
                        f"{path}: row {row} of {where} holds {part[:40]!r}, which is no number; vectors in text are "
                        "numbers between commas or blanks, e.g. '[0.1, 0.2]'"
                    ) from None
        raise
    offsets = np.concatenate([[0], np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy())])
    made = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), numbers)
    return pc.if_else(texts.is_valid(), made, pa.scalar(None, made.type)) if texts.null_count else made


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _stacked(values: pa.Array, where: str, path: Path) -> np.ndarray:
    if values.null_count:
        row = int(np.flatnonzero(values.is_null())[0])
        raise SpaceError(
            f"{path}: row {row} of {where} has no vector ({values.null_count} such rows); leave them out of the file"
        )
    lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
    if len(lengths) and (lengths != lengths[0]).any():
        row = int(np.flatnonzero(lengths != lengths[0])[0])
        raise SpaceError(f"{path}: row {row} of {where} has {lengths[row]} numbers, row 0 has {lengths[0]}")
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)


def _wide(table: pa.Table, pattern: str, path: Path) -> tuple[np.ndarray, pa.Table]:
    """Stack the columns that a pattern names, in the order of the numbers that their names end with."""
    names = [name for name in table.column_names if fnmatchcase(name, pattern)]
    if not names:
        raise SpaceError(f"{path} has no columns {pattern!r}; {_advice(table.column_names)}")
    wrong = [name for name in names if not _is_number(table[name].type)]
    if wrong:
        raise SpaceError(
            f"{path}: column {wrong[0]!r}, which --key {pattern!r} names, holds {table[wrong[0]].type}, not numbers; "
            "take a narrower pattern"
        )
    numbers = [_NUMBERED.match(name) for name in names]
    if all(numbers):
        names = [name for _, name in sorted((int(match.group(2)), match.group(0)) for match in numbers if match)]
    # A gap in a column becomes NaN, which is reported as a bad row.
    stacked = [np.asarray(table[name].cast(pa.float64()).to_numpy(), np.float32) for name in names]
    return np.stack(stacked, axis=1), table.drop_columns(names)
