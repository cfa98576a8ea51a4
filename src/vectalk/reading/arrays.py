"""Tables and tensors of files: parquet, safetensors and numpy's own, checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vectalk.errors import VectalkError

if TYPE_CHECKING:
    import pyarrow as pa

Shape = tuple[int | None, ...]
"""Lengths of the axes of an array; None where any length does."""


def read_parquet(
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    filters: Any = None,
    error: type[VectalkError] = VectalkError,
) -> pa.Table:
    """Read a parquet file, or some columns of it, and check that its values are what their types say.

    Raises:
        VectalkError: the file is missing or broken, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns), filters=filters)
        table.validate(full=True)  # a text may be no UTF-8, which is noticed where it is first used
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
        shapes: name -> shape of the tensors that must be there, all of them of finite numbers.
        error: what to raise.

    Raises:
        VectalkError: the file is missing or broken, or a tensor is missing, of another shape or not finite.
    """
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except Exception as problem:  # safetensors has errors of its own
        raise error(f"{path} cannot be read: {problem!r}") from None
    for name, shape in (shapes or {}).items():
        if name not in tensors:
            raise error(f"{path} has no tensor {name!r}; it has {', '.join(tensors) or 'none'}")
        check_array(tensors[name], shape, f"{path}: tensor {name!r}", error)
    return tensors


def check_array(array: np.ndarray, shape: Shape, where: str, error: type[VectalkError] = VectalkError) -> None:
    """Raise an error where an array is of another shape, or holds anything but finite numbers."""
    if len(array.shape) != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        raise error(f"{where} is of shape {array.shape}; {wanted} is wanted")
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise error(f"{where} holds {array.dtype}, or NaN or infinity; finite numbers are wanted")
