"""Read vectors and other arrays from files of numpy and safetensors. Pickles are never opened."""

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
    """Map the array of a .npy file into memory.

    Raises:
        SpaceError: the file holds Python objects, or is not a .npy file.
    """
    with path.open("rb") as file:
        head = file.read(6)
    if head[:2] == b"\x1f\x8b":
        raise SpaceError(f"{path} is gzipped; unpack it: gunzip {path}")
    if head != MAGIC:
        raise SpaceError(f"{path} cannot be read: it was not written by numpy.save")
    with path.open("rb") as file:
        dtype, shape = _header(file)
        start = file.tell()
    if dtype.hasobject:
        raise SpaceError(
            f"{path} cannot be read: it holds Python objects, which numpy pickled; {_plainly(path.name, shape)}"
        )
    expected, size = start + int(np.prod(shape)) * dtype.itemsize, path.stat().st_size
    if size < expected:
        raise SpaceError(
            f"{path} is not complete: its array {shape} of {dtype} needs {expected:,} bytes, but the file has "
            f"{size:,}; copy or save it again"
        )
    values = np.load(path) if 0 in shape else np.load(path, mmap_mode="r")
    return _numbers(values)


def read_npz(path: Path, key: str | None) -> tuple[np.ndarray, pa.Table, str]:
    """Return the vectors of an npz file, its arrays with one entry per row (`ids`, `titles`), and the vectors' name.

    Raises:
        SpaceError: several arrays could be the vectors, or an array with one entry per row cannot be read.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        problem = "its end is missing; copy or save it again" if zipped else "it was not written by numpy.savez"
        raise SpaceError(f"{path} cannot be read: {problem}")
    with np.load(path) as arrays:
        headers = _headers(path)
        if {"indices", "indptr", "data", "shape"} <= headers.keys():
            raise SpaceError(
                f"{path} has a sparse matrix; save a dense one: numpy.save('vectors.npy', matrix.toarray())"
            )
        tables = [  # objects too, because the vectors may be pickled
            name
            for name, (dtype, shape) in headers.items()
            if len(shape) == 2 and shape[1] > 1 and dtype.kind in "iufO"
        ]
        several = [name for name, (_, shape) in headers.items() if len(shape) > 1]
        pickled = [name for name, (dtype, shape) in headers.items() if dtype.hasobject and shape]
        if key is None and not several and pickled:
            _refuse_objects(path, pickled[0], headers)
        name = choose(tables or several or list(headers), key, path, "array")
        _refuse_objects(path, name, headers)
        vectors = _numbers(arrays[name])
        known = {
            other: arrays[other] for other in headers if other != name and _is_column(headers[other][1], len(vectors))
        }
    return vectors, _columns(known, headers, name, len(vectors), path), name


def read_safetensors(path: Path, key: str | None) -> tuple[np.ndarray, pa.Table, str]:
    """Return the vectors of a safetensors file (memory-mapped), its tensors with one entry per row, and their name."""
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
        SpaceError: a column of a table cannot have this type.
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
    """Return bfloat16, which numpy reads as two bytes, as float32; return other arrays unchanged."""
    plain = values.dtype.kind == "V" and values.dtype.names is None and values.dtype.itemsize == 2
    return from_bfloat16(np.array(values)) if plain else values


def unstructured(values: np.ndarray) -> np.ndarray:
    """Return records whose fields are numbered (`v0`, `v1`, ...) as an array [N, D]; return other arrays unchanged."""
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
    """Return the type and shape of each array of an npz file, without loading the arrays."""
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
    """Raise a SpaceError if an array that is needed holds Python objects; without its ids, rows would be wrong."""
    rows = (headers[name][1] or (0,))[0]
    for other, (dtype, shape) in headers.items():
        if dtype.hasobject and (other == name or _is_column(shape, rows)):
            raise SpaceError(
                f"{path}: array {other!r} holds Python objects, which numpy pickled; vectalk never opens pickles; "
                f"{_plainly(other, shape)}"
            )


def _plainly(name: str, shape: tuple[int, ...]) -> str:
    """Return advice on how to save an array of Python objects without pickling."""
    name = name.removesuffix(".npy")
    name = name if name.isidentifier() else "values"
    text = f"text as {name}.astype(str), " if len(shape) < 2 else ""
    return f"save it without objects: {text}rows of numbers as numpy.stack({name})"


def _columns(
    known: dict[str, np.ndarray],
    headers: dict[str, tuple[np.dtype, tuple[int, ...]]],
    vectors: str,
    rows: int,
    path: Path,
) -> pa.Table:
    """Return arrays with one entry per row as columns; `ids` is renamed to `id`, and `titles` to `title`."""
    for name, (_, shape) in headers.items():
        if name not in known and name != vectors and _singular(name) == "id":
            raise SpaceError(
                f"{path}: {name!r} has shape {shape}, but {vectors!r} has {rows} vectors; ids must be a list, "
                "of which entry i belongs to vector i"
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
