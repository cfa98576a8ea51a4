"""Stack the cells of a column (lists, nested lists, tensors, bytes or text) into an array of vectors."""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.importing.canonical import is_bytes, is_list, is_text, plain
from vectalk.space.importing.vector_files import from_bfloat16
from vectalk.space.importing.vector_text import parsed

USUAL = (1e-6, 1e4)  # range of nearly all numbers in vectors


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column has numbers."""
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def number_of(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of the numbers in a column of lists, nested lists or tensors; None for other columns."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return kind.value_type
    while is_list(kind):
        kind = kind.value_type
        if is_number(kind):
            return kind
        if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 2:  # bfloat16
            return pa.float16()
    return None


def stacked(values: pa.ChunkedArray, where: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors [N, D] of a column, and the rows without a vector, which are NaN.

    Args:
        values: the column.
        where: name of the column in errors, e.g. `column 'v'`.
        path: the file, for errors.

    Raises:
        SpaceError: the column has no vectors, or vectors of different lengths; the error names the row.
    """
    parts, start = [], 0
    for chunk in values.chunks:
        parts.append(_rows(chunk, start, where, path))
        start += len(chunk)
    lengths = [part.shape[1] for part, there in parts if there.any()]
    if not lengths:
        raise SpaceError(f"{path}: no row of {where} has a vector")
    first, start = int(np.flatnonzero(np.concatenate([there for _, there in parts]))[0]), 0
    for part, there in parts:
        if there.any() and part.shape[1] != lengths[0]:
            row = start + int(np.flatnonzero(there)[0])
            raise SpaceError(f"{path}: row {row} of {where} has {part.shape[1]} numbers, row {first} has {lengths[0]}")
        start += len(there)
    missing = np.flatnonzero(~np.concatenate([there for _, there in parts]))
    if not len(missing):
        return np.concatenate([part for part, _ in parts]) if len(parts) > 1 else parts[0][0], missing
    kinds = [part.dtype for part, there in parts if there.any()]
    kind = np.result_type(*kinds) if np.result_type(*kinds).kind == "f" else np.dtype(np.float64)
    filled = np.full((start, lengths[0]), np.nan, kind)
    at = 0
    for part, there in parts:
        if there.any():
            filled[at : at + len(there)][there] = part
        at += len(there)
    return filled, missing


def _rows(values: pa.Array, start: int, where: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of the rows with a vector, and a mask [N] of these rows."""
    if isinstance(values.type, pa.FixedShapeTensorType):
        if sum(size > 1 for size in values.type.shape) > 1:
            raise _not_one(path, start, where, " x ".join(map(str, values.type.shape)))
        values = values.storage
    values = plain(pa.chunked_array([values])).combine_chunks()
    values = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
    if is_text(values.type):
        decoded = _from_base64(values)
        values = parsed(values, where, path, start) if decoded is None else decoded
    if is_bytes(values.type):
        return _from_bytes(values, start, where, path)
    if number_of(values.type) is None:
        raise SpaceError(f"{path}: {where} holds {values.type}, not lists of numbers")
    there = np.array(pc.fill_null(pc.greater(_lengths(values), 0), False))
    values = values.filter(pa.array(there))
    rows = start + np.flatnonzero(there)
    while is_list(values.type.value_type):
        values = _unnested(values, rows, where, path)
    lengths = np.asarray(pc.fill_null(_lengths(values), 0))
    if (lengths == 0).any():  # a list that contains only an empty list
        there[rows[lengths == 0] - start] = False
        values, rows, lengths = values.filter(pa.array(lengths > 0)), rows[lengths > 0], lengths[lengths > 0]
    if len(lengths) and (lengths != lengths[0]).any():
        odd = int(np.flatnonzero(lengths != lengths[0])[0])
        raise SpaceError(
            f"{path}: row {rows[odd]} of {where} has {lengths[odd]} numbers, row {rows[0]} has {lengths[0]}"
        )
    flat = values.flatten()
    if is_bytes(flat.type):
        halves = np.frombuffer(b"".join(flat.to_pylist()), "<u2")
        return from_bfloat16(halves).reshape(len(values), -1), there
    if pa.types.is_decimal(flat.type):
        flat = flat.cast(pa.float64())
    return flat.to_numpy(zero_copy_only=False).reshape(len(values), -1 if len(values) else 0), there


def _lengths(values: pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_list(values.type):
        return pc.if_else(values.is_valid(), values.type.list_size, 0)
    return pc.list_value_length(values)


def _unnested(values: pa.Array, rows: np.ndarray, where: str, path: Path) -> pa.Array:
    """Remove the outer or the inner level of nested lists, whichever has only one entry."""
    outer = np.asarray(_lengths(values))
    inner = values.flatten()
    if (outer == 1).all():
        return inner
    lengths = np.asarray(pc.fill_null(_lengths(inner), 0))
    if (lengths == 1).all() and not is_list(inner.type.value_type):
        offsets = np.concatenate([[0], np.cumsum(outer)])
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), inner.flatten())
    odd = int(np.flatnonzero(outer != 1)[0])
    raise _not_one(path, int(rows[odd]), where, f"{outer[odd]} x {lengths[int(outer[:odd].sum())]}")


def _not_one(path: Path, row: int, where: str, shape: str) -> SpaceError:
    return SpaceError(
        f"{path}: row {row} of {where} has {shape} numbers, but must have one vector; average or concatenate its "
        "vectors before you import them"
    )


def _from_base64(texts: pa.Array) -> pa.Array | None:
    """Return the bytes of base64 texts, as embedding services write vectors; None if the texts are not base64."""
    try:
        cells = [base64.b64decode(text, validate=True) if text else None for text in texts.to_pylist()]
    except (binascii.Error, ValueError):
        return None
    return pa.array(cells, pa.binary()) if _kinds([cell for cell in cells if cell]) else None


def _from_bytes(values: pa.Array, start: int, where: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors from bytes; guess whether they are little-endian float32, float64 or float16."""
    cells = values.to_pylist()
    there = np.array([bool(cell) for cell in cells], bool)
    rows, cells = start + np.flatnonzero(there), [cell for cell in cells if cell]
    if not cells:
        return np.zeros((0, 0), np.float32), there
    if all(cell.startswith(b"\x93NUMPY") for cell in cells):
        arrays = [np.load(io.BytesIO(cell)).reshape(-1) for cell in cells]
        odd = next((place for place, array in enumerate(arrays) if len(array) != len(arrays[0])), None)
        if odd is not None:
            raise SpaceError(
                f"{path}: row {rows[odd]} of {where} has {len(arrays[odd])} numbers, row {rows[0]} has {len(arrays[0])}"
            )
        return np.stack(arrays), there
    odd = next((place for place, cell in enumerate(cells) if len(cell) != len(cells[0])), None)
    if odd is not None:
        raise SpaceError(
            f"{path}: row {rows[odd]} of {where} has {len(cells[odd])} bytes, row {rows[0]} has {len(cells[0])}"
        )
    kinds = _kinds(cells)
    if not kinds:
        raise SpaceError(
            f"{path}: {where} holds bytes, and their type of number cannot be guessed; save lists of numbers, e.g. "
            "[numpy.frombuffer(cell, numpy.float32) for cell in column]"
        )
    return np.frombuffer(b"".join(cells), kinds[0]).reshape(len(cells), -1), there


def _kinds(cells: list[bytes]) -> list[str]:
    """Return the possible types of numbers of cells with the same length; none if this is not clear."""
    size = len(cells[0]) if cells else 0
    if not size or any(len(cell) != size for cell in cells):
        return []
    whole = b"".join(cells)
    kinds = [kind for kind in ("<f4", "<f8", "<f2") if size % int(kind[2]) == 0 and _usual(np.frombuffer(whole, kind))]
    if kinds[:2] == ["<f4", "<f8"] and not np.frombuffer(whole, "<f4")[::2].any():  # round numbers of 64 bits
        return kinds[1:]
    return [] if kinds[:1] == ["<f4"] and _pairs(whole) else kinds


def _usual(numbers: np.ndarray) -> bool:
    """Return whether numbers have the usual sizes of vectors; with the wrong type, bytes give numbers of all sizes."""
    with np.errstate(invalid="ignore"):
        sizes = np.abs(numbers[numbers != 0].astype(np.float64))
    return len(sizes) > 0 and bool(((sizes > USUAL[0]) & (sizes < USUAL[1])).mean() > 0.99)


def _pairs(whole: bytes) -> bool:
    """Return whether bytes that look like float32 may be pairs of float16 or bfloat16 of usual sizes."""
    lower = np.frombuffer(whole, "<u2")[::2]
    lower = lower[lower != 0]
    if 4 * len(lower) < len(whole) // 4:
        return False
    half, brain = (lower >> 10) & 31, (lower >> 7) & 255  # exponents of float16 and of bfloat16
    return bool(((half >= 3) & (half <= 18)).mean() > 0.9 or ((brain >= 97) & (brain <= 140)).mean() > 0.9)
