"""Arrays of numpy's and of safetensors: vectors, and what else a file says of each row; a pickle is never opened."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from vectalk.errors import SpaceError
from vectalk.space.importing.vector_files import choose, from_bfloat16, open_vectors, tensors_of

MAGIC = b"\x93NUMPY"


def open_npy(path: Path) -> np.ndarray:
    """Map an array into memory.

    Raises:
        SpaceError: it holds Python objects, or is no array.
    """
    with path.open("rb") as file:
        head = file.read(6)
    if head[:2] == b"\x1f\x8b":
        raise SpaceError(f"{path} is gzipped; unpack it: gunzip {path}")
    if head != MAGIC:
        raise SpaceError(f"{path} cannot be read: it is no array that numpy.save wrote")
    with path.open("rb") as file:
        dtype, shape = _header(file)
    if dtype.hasobject:
        raise SpaceError(
            f"{path} cannot be read: it holds Python objects, which numpy pickled; {_plainly(path.name, shape)}"
        )
    values = np.load(path) if 0 in shape else np.load(path, mmap_mode="r")
    return _numbers(values)


def read_npz(path: Path, key: str | None) -> tuple[np.ndarray, pa.Table, str]:
    """Read the vectors of an npz, its arrays of one entry a row (`ids`, `titles`) as columns, and the vectors' name.

    Raises:
        SpaceError: the vectors are not clear, or an array of one entry a row cannot be read.
    """
    if not zipfile.is_zipfile(path):
        raise SpaceError(f"{path} cannot be read: it is no archive that numpy.savez wrote")
    with np.load(path) as arrays:
        headers = _headers(path)
        if {"indices", "indptr", "data", "shape"} <= headers.keys():
            raise SpaceError(
                f"{path} holds a sparse matrix; save it dense: numpy.save('vectors.npy', matrix.toarray())"
            )
        tables = [
            name for name, (dtype, shape) in headers.items() if len(shape) == 2 and shape[1] > 1 and dtype.kind in "iuf"
        ]
        several = [name for name, (_, shape) in headers.items() if len(shape) > 1]
        name = choose(tables or several or list(headers), key, path, "array")
        _refuse_objects(path, name, headers)
        vectors = _numbers(arrays[name])
        known = {
            other: arrays[other] for other in headers if other != name and _is_column(headers[other][1], len(vectors))
        }
    return vectors, _columns(known, headers, name, len(vectors), path), name


def read_safetensors(path: Path, key: str | None) -> tuple[np.ndarray, pa.Table, str]:
    """Map a tensor of vectors into memory, and return the tensors of one entry a row as columns, and its own name."""
    headers = {name: (np.dtype(np.float32), shape) for name, shape in tensors_of(path).items()}
    tables = [name for name, (_, shape) in headers.items() if len(shape) == 2 and shape[1] > 1]
    name = choose(tables or list(headers), key, path, "tensor")
    vectors = open_vectors(path, name)
    rows = vectors.shape[0] if vectors.ndim else 0
    known = {o: open_vectors(path, o) for o in headers if o != name and _is_column(headers[o][1], rows)}
    return vectors, _columns(known, headers, name, rows, path), name


def column_of(values: np.ndarray, where: str) -> pa.ChunkedArray:
    """Return an array [N] of any kind of number, text, date or bytes as a column.

    Raises:
        SpaceError: nothing in a table is of its kind.
    """
    if values.dtype.byteorder == ">" or (values.dtype.byteorder == "=" and not np.little_endian):
        values = values.astype(values.dtype.newbyteorder("="))
    if values.dtype == np.longdouble:
        values = values.astype(np.float64)
    if values.dtype.kind == "M" and np.datetime_data(values.dtype)[0] in ("generic", "Y", "M", "W", "h", "m"):
        unit = "D" if np.datetime_data(values.dtype)[0] in ("generic", "Y", "M", "W") else "s"
        values = values.astype(f"datetime64[{unit}]")
    try:
        return pa.chunked_array([pa.array(np.ascontiguousarray(values))])
    except (pa.ArrowException, TypeError, ValueError):
        raise SpaceError(
            f"{where} holds {values.dtype}, which is neither text nor numbers; {_plainly(where, values.shape)}"
        ) from None


def _numbers(values: np.ndarray) -> np.ndarray:
    """Return bfloat16 as float32, since numpy knows it as two bytes alone."""
    plain = values.dtype.kind == "V" and values.dtype.names is None and values.dtype.itemsize == 2
    return from_bfloat16(np.array(values)) if plain else values


def unstructured(values: np.ndarray) -> np.ndarray:
    """Return an array of records of numbers called by their place as a table of numbers [N, D]; others unchanged."""
    names = values.dtype.names
    if names is None or values.ndim != 1 or any(values.dtype[name].kind not in "iuf" for name in names):
        return values
    stems = {name.rstrip("0123456789") for name in names}
    digits = [name[len(next(iter(stems))) :] for name in names] if len(stems) == 1 else []
    if [d for d in digits if not d] or digits not in (
        [str(n) for n in range(len(names))],
        [str(n + 1) for n in range(len(names))],
    ):
        return values
    from numpy.lib.recfunctions import structured_to_unstructured

    return structured_to_unstructured(values)


def _headers(path: Path) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Return the kind and shape of each array of an npz, without opening it."""
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                if file.read(len(MAGIC)) != MAGIC:
                    continue
            with archive.open(member) as file:
                headers[member.removesuffix(".npy")] = _header(file)
    return headers


def _header(file: IO[bytes]) -> tuple[np.dtype, tuple[int, ...]]:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    return dtype, shape


def _is_column(shape: tuple[int, ...], rows: int) -> bool:
    return shape in ((rows,), (rows, 1))


def _refuse_objects(path: Path, name: str, headers: dict[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
    """Raise a SpaceError where an array that would be used holds Python objects: without its ids, rows are wrong."""
    rows = (headers[name][1] or (0,))[0]
    for other, (dtype, shape) in headers.items():
        if dtype.hasobject and (other == name or _is_column(shape, rows)):
            raise SpaceError(
                f"{path}: array {other!r} holds Python objects, which numpy pickled, and a pickle is not opened; "
                f"{_plainly(other, shape)}"
            )


def _plainly(name: str, shape: tuple[int, ...]) -> str:
    """Say how an array of Python objects is saved without pickling."""
    name = name.removesuffix(".npy")
    name = name if name.isidentifier() else "values"
    text = f"text as {name}.astype(str), " if len(shape) < 2 else ""
    return f"save it plainly: {text}rows of numbers as numpy.stack({name})"


def _columns(
    known: dict[str, np.ndarray],
    headers: dict[str, tuple[np.dtype, tuple[int, ...]]],
    vectors: str,
    rows: int,
    path: Path,
) -> pa.Table:
    """Return arrays of one entry a row as columns; `ids` is called `id`, and `titles` `title`."""
    for name, (_, shape) in headers.items():
        if name not in known and name != vectors and _singular(name) == "id":
            raise SpaceError(
                f"{path}: {name!r} has shape {shape}, and {vectors!r} holds {rows} vectors; ids are a list, of which "
                "row i belongs to vector i"
            )
    columns = {}
    for name, values in known.items():
        flat = values.reshape(-1)
        if flat.dtype.kind == "V":
            raise SpaceError(f"{path}: array {name!r} holds {flat.dtype}, which is neither text nor numbers")
        columns[_singular(name) if _singular(name) not in known else name] = column_of(flat, name)
    return pa.table(columns)


def _singular(name: str) -> str:
    """Return `id` for `ids`, `title` for `titles`, `item_id` for `item_ids`; other names stay as they are."""
    last = name.lower().rpartition("_")[2]
    return name[:-1] if last in ("ids", "titles") or name.endswith("Ids") else name
