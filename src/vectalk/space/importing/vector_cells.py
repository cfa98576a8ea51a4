"""One vector a cell: lists, nested lists, tensors, bytes and text, stacked into a table of numbers."""

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

USUAL = (1e-6, 1e4)  # between which nearly all numbers of vectors lie


def is_number(kind: pa.DataType) -> bool:
    """Say whether a column holds numbers."""
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def number_of(kind: pa.DataType) -> pa.DataType | None:
    """Return the kind of number in a column of lists, be they nested or tensors; None where it holds something else."""
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
    """Return the vectors [N, D] of a column, and the rows that have none; these hold NaN.

    Args:
        values: the column.
        where: names it in errors, e.g. `column 'v'`.
        path: the file, for errors.

    Raises:
        SpaceError: it holds no vectors, or vectors of several lengths; the row is named.
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
    """Return the vectors of the rows that have one, and which rows [N] these are."""
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
    if (lengths == 0).any():  # a list of nothing but an empty one
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
    """Take the outer or the inner of two lists away, whichever holds one thing alone."""
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
        f"{path}: row {row} of {where} has {shape} numbers, where one vector is wanted; take the mean of its vectors, "
        "or put them after each other, before you import them"
    )


def _from_base64(texts: pa.Array) -> pa.Array | None:
    """Return the bytes of texts that are base64, as embedding services write vectors; None where they are no such."""
    try:
        cells = [base64.b64decode(text, validate=True) if text else None for text in texts.to_pylist()]
    except (binascii.Error, ValueError):
        return None
    return pa.array(cells, pa.binary()) if _kinds([cell for cell in cells if cell]) else None


def _from_bytes(values: pa.Array, start: int, where: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors whose bytes a column holds: of little-endian float32, float64 or float16, as they look."""
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
            f"{path}: {where} holds bytes, and it is not clear of which numbers; save lists of numbers instead, e.g. "
            "[numpy.frombuffer(cell, numpy.float32) for cell in column]"
        )
    return np.frombuffer(b"".join(cells), kinds[0]).reshape(len(cells), -1), there


def _kinds(cells: list[bytes]) -> list[str]:
    """Return the kinds of number that cells of one length may hold; nothing where this is not clear."""
    size = len(cells[0]) if cells else 0
    if not size or any(len(cell) != size for cell in cells):
        return []
    whole = b"".join(cells)
    kinds = [kind for kind in ("<f4", "<f8", "<f2") if size % int(kind[2]) == 0 and _usual(np.frombuffer(whole, kind))]
    if kinds[:2] == ["<f4", "<f8"] and not np.frombuffer(whole, "<f4")[::2].any():  # round numbers of 64 bits
        return kinds[1:]
    return [] if kinds[:1] == ["<f4"] and _pairs(whole) else kinds


def _usual(numbers: np.ndarray) -> bool:
    """Say whether numbers are such as vectors hold; bytes read as another kind of number are spread over all sizes."""
    with np.errstate(invalid="ignore"):
        sizes = np.abs(numbers[numbers != 0].astype(np.float64))
    return len(sizes) > 0 and bool(((sizes > USUAL[0]) & (sizes < USUAL[1])).mean() > 0.99)


def _pairs(whole: bytes) -> bool:
    """Say whether bytes that look like float32 may be pairs of halves, whose lower ones are of usual size too."""
    lower = np.frombuffer(whole, "<u2")[::2]
    lower = lower[lower != 0]
    if 4 * len(lower) < len(whole) // 4:
        return False
    half, brain = (lower >> 10) & 31, (lower >> 7) & 255  # exponents of float16 and of bfloat16
    return bool(((half >= 3) & (half <= 18)).mean() > 0.9 or ((brain >= 97) & (brain <= 140)).mean() > 0.9)
