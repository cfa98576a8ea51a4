"""Open files of vectors without loading them: .npy and .safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vectalk.errors import SpaceError

DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
DTYPES |= {"U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8"}


def open_vectors(path: Path, key: str | None = None) -> np.ndarray:
    """Map an array of a .npy file, or a tensor of a .safetensors file, into memory.

    Args:
        path: the file.
        key: name of the tensor, if there are several.

    Raises:
        SpaceError: there is no tensor `key`, `key` is missing, or numpy does not support the type.
        ValueError, EOFError, OSError: the file is broken.
    """
    if path.suffix.lower() == ".npy":
        return np.load(path, mmap_mode="r")
    header, start = _header(path)
    name = choose(list(header), key, path, "tensor")
    entry = header[name]
    if entry["dtype"] not in (*DTYPES, "BF16"):
        raise SpaceError(f"{path}: tensor {name!r} holds {entry['dtype']}; save it as F32 or F16")
    shape, offset = tuple(entry["shape"]), start + entry["data_offsets"][0]
    if 0 in shape:  # nothing to map
        return np.zeros(shape, np.float32)
    if entry["dtype"] == "BF16":  # loaded into memory, because numpy has no bfloat16
        return from_bfloat16(np.memmap(path, "<u2", "r", offset, shape))
    return np.memmap(path, DTYPES[entry["dtype"]], "r", offset, shape)


def tensors_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a .safetensors file.

    Raises:
        ValueError, OSError: the file is broken.
    """
    return {name: tuple(entry["shape"]) for name, entry in _header(path)[0].items()}


def from_bfloat16(halves: np.ndarray) -> np.ndarray:
    """Return bfloat16 numbers (the upper halves of float32) as float32."""
    return (halves.view("<u2").astype("<u4") << 16).view("<f4")


def _header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the header entry of each tensor, and the offset of their bytes in the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:  # checks the header against the size of the file
            names = list(file.keys())
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(size))
    return {name: entries[name] for name in names}, 8 + size


def choose(names: list[str], key: str | None, path: Path, kind: str, kinds: str | None = None) -> str:
    """Return `key`, or the only name if `key` is None.

    Args:
        names: the existing names.
        key: the requested name.
        path: the file, for errors.
        kind: noun for what has these names, for errors.
        kinds: its plural, if that is irregular.

    Raises:
        SpaceError: there is no such name, or there are several and `key` is None; the error lists the names.
    """
    if key is None and len(names) == 1:
        return names[0]
    if key not in names:
        problem = f"has {len(names)} {kinds or kind + 's'}" if key is None else f"has no {kind} {key!r}"
        examples = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise SpaceError(f"{path} {problem}; name one with --key: {examples}")
    return key
