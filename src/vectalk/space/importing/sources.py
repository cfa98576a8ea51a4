"""Read vectors, and other columns, from a file or a folder of parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from vectalk.errors import SpaceError
from vectalk.space.importing.arrays import open_npy, read_npz, read_safetensors, unstructured
from vectalk.space.importing.parts import notes_on, parts_of
from vectalk.space.importing.table_files import KINDS, kind_of
from vectalk.space.importing.tables import Layout, read_table
from vectalk.space.importing.text_files import Tell, reason_of
from vectalk.space.importing.vector_columns import Vectors, vectors_of

ARRAYS = ("npy", "npz", "safetensors")
TORCH = ("pt", "pth", "bin", "ckpt", "pkl", "pickle")
WORDS = ("txt", "vec", "w2v", "glove")  # endings of files of word vectors


def read_vectors(path: str | Path, key: str | None = None) -> tuple[np.ndarray, pa.Table | None]:
    """Read vectors from .npy, .npz, .safetensors, or from a table: parquet, csv, jsonl, ..., or a folder of parts.

    Args:
        path: the file.
        key: array of an npz file, tensor of a safetensors file or column of a table, if there are several; a pattern
            such as `dim_*` names columns of a table with one dimension each.

    Returns:
        Vectors [N, D], and the other columns or arrays with one entry per row (None if there are none).

    Raises:
        SpaceError: the file is missing, broken or of another kind, or has no such vectors.
    """
    vectors = open_source(path, key)
    check_missing(vectors, path)
    return vectors.values, vectors.others


def open_source(
    path: str | Path,
    key: str | None = None,
    text: tuple[str, ...] = ("id", "title"),
    layout: Layout | None = None,
    tell: Tell = lambda message: None,
) -> Vectors:
    """Read vectors as `read_vectors` does, but allow rows without a vector.

    Args:
        path: see `read_vectors`.
        key: see `read_vectors`.
        text: see `read_table`.
        layout: see `read_table`.
        tell: see `read_table`.

    Raises:
        SpaceError: see `read_vectors`.
    """
    path = Path(path)
    if (path / "space.json").is_file():
        raise SpaceError(f"{path} is already a space; use this space, or name its file of vectors")
    if not path.exists():
        raise SpaceError(f"{path} does not exist")
    try:
        vectors = _read(path, key, text, layout, tell)
    except SpaceError:
        raise
    except Exception as error:  # the libraries raise many kinds of errors
        raise SpaceError(f"{path} cannot be read: {reason_of(error)}") from None
    values = vectors.values
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "iuf":
        hint = "; reshape it: array.reshape(rows, -1)" if values.ndim == 1 and values.size else ""
        raise SpaceError(
            f"{path}: vectors must be a table of numbers [N, D], not {values.dtype} of shape {values.shape}{hint}"
        )
    return vectors


def check_missing(vectors: Vectors, path: str | Path) -> None:
    """Raise a SpaceError if a row has no vector."""
    if len(vectors.missing):
        raise SpaceError(
            f"{path}: row {vectors.missing[0]} of column {vectors.named!r} has no vector ({len(vectors.missing)} such "
            "rows); leave them out with --drop-bad-rows"
        )


def _read(path: Path, key: str | None, text: tuple[str, ...], layout: Layout | None, tell: Tell) -> Vectors:
    kind, nothing = "" if path.is_dir() else kind_of(path), np.zeros(0, np.int64)
    if path.is_dir():
        parts, kind = parts_of(path)
        if kind == "npy":
            for note in notes_on(parts, path):
                tell(note)
            return Vectors(_stacked([part.path for part in parts]), None, nothing, "rows")
        return vectors_of(read_table(path, text, layout, tell), key, path)
    if path.name.lower().endswith(".gz") and kind in ARRAYS:
        raise SpaceError(f"{path} is gzipped; unpack it: gunzip {path}")
    if kind == "npy":
        return Vectors(_flat(unstructured(open_npy(path))), None, nothing, "rows")
    if kind in ("npz", "safetensors"):
        values, others, name = (read_npz if kind == "npz" else read_safetensors)(path, key)
        return Vectors(_flat(values), others if others.num_columns else None, nothing, name)
    if kind in (*KINDS, "ndjson", "ipc", "tab", "psv") or (layout is not None and layout.separator is not None):
        return vectors_of(read_table(path, text, layout, tell), key, path)
    how = ""
    if kind in TORCH:
        how = "; save a tensor as .npy: numpy.save('vectors.npy', tensor.detach().cpu().float().numpy())"
    if kind in WORDS:
        how = (
            "; if these are word vectors, read them with gensim: keyed = KeyedVectors.load_word2vec_format(path), with "
            "no_header=True for GloVe; then numpy.savez('words.npz', vectors=keyed.vectors, "
            "ids=numpy.array(keyed.index_to_key))"
        )
    allowed = ", ".join("." + name for name in (*ARRAYS, *KINDS))
    raise SpaceError(f"{path}: unknown kind of vectors {path.suffix!r}; allowed are {allowed}{how}")


def _stacked(paths: list[Path]) -> np.ndarray:
    """Return the arrays of several files as one array."""
    arrays = [_flat(open_npy(path)) for path in paths]
    odd = next((p for p, a in zip(paths, arrays, strict=True) if a.ndim != 2 or a.shape[1] != arrays[0].shape[1]), None)
    if odd is not None:
        shapes = dict(zip(paths, (array.shape for array in arrays), strict=True))
        raise SpaceError(
            f"{odd} has shape {shapes[odd]}, {paths[0].name} has {shapes[paths[0]]}; they cannot be parts of one array"
        )
    return np.concatenate(arrays)


def _flat(values: np.ndarray) -> np.ndarray:
    """Remove dimensions of size 1, as in [N, 1, D]."""
    return (
        values.reshape(len(values), -1)
        if values.ndim > 2 and max(values.shape[1:]) == np.prod(values.shape[1:])
        else values
    )
