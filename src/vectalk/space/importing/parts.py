"""Folders of files that are one table: which files, in which order, and what the folders' names say of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from vectalk.errors import SpaceError

KINDS = ("parquet", "arrow", "feather", "ipc", "npy", "jsonl", "ndjson", "csv", "tsv", "json")
CARDS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json", "metadata.json"}
UNKNOWN = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """One file of several, and the columns that the names of its folders give, as in `year=2020/part-0.parquet`."""

    path: Path
    columns: dict[str, str | None]


def parts_of(folder: Path) -> tuple[list[Part], str]:
    """Return the files of a folder in the order of the numbers in their names, and what kind they are.

    The folder is what `datasets.save_to_disk` wrote, a repository of the hub (`data/train-00000-of-00002.parquet`), a
    dataset in partitions (`year=2020/...`), or plainly holds parts of one table. Names that begin with `.` or `_` are
    left out.

    Raises:
        SpaceError: it holds no table, or files of several kinds.
    """
    saved = _saved(folder)
    if saved:
        return [Part(path, {}) for path in saved], "arrow"
    files: dict[str, list[Path]] = {}
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).parts
        kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
        if kind in KINDS and path.is_file() and path.name not in CARDS and not any(p[0] in "._" for p in inside):
            files.setdefault(kind, []).append(path)
    if "json" in files and len(files) > 1:  # settings beside the data
        del files["json"]
    if len(files) > 1:
        raise SpaceError(
            f"{folder} is a folder of {' and '.join(sorted(files))} files; name one file in it, or a folder of one kind"
        )
    if not files:
        raise SpaceError(f"{folder} is a folder without files of {', '.join(KINDS)}; name a file in it")
    kind, paths = next(iter(files.items()))
    ordered = sorted(paths, key=lambda path: [_natural(part) for part in path.relative_to(folder).parts])
    return [Part(path, _partition(path, folder)) for path in ordered], kind


def described(parts: list[Part], folder: Path) -> str:
    """Say in which order the files of a folder are taken."""
    names = [str(part.path.relative_to(folder)) for part in parts]
    examples = names if len(names) < 5 else [*names[:3], "...", names[-1]]
    return f"{folder}: {len(names)} parts, taken in the order {', '.join(examples)}"


def _natural(name: str) -> list[str | int]:
    """Return a key that sorts `emb_2` before `emb_10`."""
    return [int(piece) if place % 2 else piece for place, piece in enumerate(re.split(r"(\d+)", name))]


def _partition(path: Path, folder: Path) -> dict[str, str | None]:
    pairs = [part.partition("=") for part in path.parent.relative_to(folder).parts]
    return {name: None if value == UNKNOWN else unquote(value) for name, sign, value in pairs if sign and name}


def _saved(folder: Path) -> list[Path]:
    """Return the files of a dataset that Hugging Face `datasets` saved, in its order, or nothing."""
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        return [path for name in _list(_read(splits), "splits", splits) for path in _saved(folder / str(name))]
    state = folder / "state.json"
    if not state.is_file():
        return []
    card = _read(state)
    if card.get("_indices_data_files"):
        raise SpaceError(f"{folder} was saved with its rows in another order; save dataset.flatten_indices()")
    files = _list(card, "_data_files", state)
    paths = [folder / str(entry.get("filename") if isinstance(entry, dict) else entry) for entry in files]
    lost = next((path for path in paths if not path.is_file()), None)
    if lost is not None:
        raise SpaceError(f"{folder} lacks its part {lost.name}")
    return paths


def _read(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SpaceError(f"{path} cannot be read: {error}") from None
    if not isinstance(card, dict):
        raise SpaceError(f"{path} is no object, as datasets writes it")
    return card


def _list(card: dict[str, Any], key: str, path: Path) -> list[Any]:
    if not isinstance(card.get(key), list):
        raise SpaceError(f"{path} has no list {key!r}, as datasets writes it")
    return card[key]
