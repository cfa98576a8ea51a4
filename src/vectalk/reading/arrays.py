"""Read tables and tensors from parquet, safetensors and numpy files, and check them before use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vectalk.errors import VectalkError

if TYPE_CHECKING:
    import pyarrow as pa

Shape = tuple[int | None, ...]
"""Lengths of the axes of an array; None allows any length."""


def read_parquet(
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    filters: Any = None,
    error: type[VectalkError] = VectalkError,
) -> pa.Table:
    """Read a parquet file, or some of its columns, and check that the values match their types.

    Args:
        path: the file.
        columns: names of the columns; all when omitted.
        filters: filters of `pyarrow.parquet.read_table`.
        error: class of the error that is raised.

    Raises:
        VectalkError: the file is missing or damaged, or has no such column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns), filters=filters)
        table.validate(full=True)  # otherwise text that is not UTF-8 fails only at its first use
        missing = [name for name in columns or () if name not in table.column_names]
    except (pa.ArrowException, OSError, ValueError, MemoryError) as problem:
        raise error(f"{path} cannot be read: {' '.join(str(problem).split())}") from None
    if missing:
        raise error(f"{path} has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    return table


def read_tensors(
    path: str | Path, shapes: Mapping[str, Shape] | None = None, error: type[VectalkError] = VectalkError
) -> dict[str, np.ndarray]:
    """Read the tensors of a safetensors file.

    Args:
        path: the file.
        shapes: name -> shape of the tensors that the file must have; their numbers must be finite.
        error: class of the error that is raised.

    Returns:
        Name -> tensor, for all tensors of the file.

    Raises:
        VectalkError: the file is missing or damaged, or a tensor is missing, has another shape or is not finite.
    """
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except Exception as problem:  # safetensors raises its own errors
        raise error(f"{path} cannot be read: {problem!r}") from None
    for name, shape in (shapes or {}).items():
        if name not in tensors:
            raise error(f"{path} has no tensor {name!r}; it has {', '.join(tensors) or 'none'}")
        check_array(tensors[name], shape, f"{path}: tensor {name!r}", error)
    return tensors


def check_array(array: np.ndarray, shape: Shape, where: str, error: type[VectalkError] = VectalkError) -> None:
    """Raise an error if an array has another shape, or does not hold finite numbers only."""
    if len(array.shape) != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        allowed = " x ".join("any" if n is None else str(n) for n in shape)
        raise error(f"{where} has shape {array.shape}; the shape must be {allowed}")
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise error(f"{where} has type {array.dtype}, or holds NaN or infinity; all values must be finite numbers")
