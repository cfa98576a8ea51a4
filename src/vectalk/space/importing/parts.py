"""Folders of files that are parts of one table: the files, their order, and the columns in the names of folders."""

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
_OF = re.compile(r"(\d+)[-_. ]of[-_. ](\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One file of several, and the columns in the names of its folders, as in `year=2020/part-0.parquet`."""

    path: Path
    columns: dict[str, str | None]


def parts_of(folder: Path) -> tuple[list[Part], str]:
    """Return the files of a folder, in the order of the numbers in their names, and their format.

    The folder may be from `datasets.save_to_disk`, a repository of the hub (`data/train-00000-of-00002.parquet`), a
    partitioned dataset (`year=2020/...`), or any folder with parts of one table. Names that begin with `.` or `_` are
    left out.

    Raises:
        SpaceError: the folder has no table, or files of several formats.
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
    if "json" in files and len(files) > 1:  # settings next to the data
        del files["json"]
    if len(files) > 1:
        raise SpaceError(
            f"{folder} has {' and '.join(sorted(files))} files; name one file in it, or a folder of one format"
        )
    if not files:
        raise SpaceError(f"{folder} has no file of the formats {', '.join(KINDS)}; name a file")
    kind, paths = next(iter(files.items()))
    ordered = sorted(paths, key=lambda path: (_natural(path.relative_to(folder), kind), str(path)))
    return [Part(path, _partition(path, folder)) for path in ordered], kind


def notes_on(parts: list[Part], folder: Path) -> list[str]:
    """Return what the user should check: the order of the files of a folder, and files that are missing."""
    names = [str(part.path.relative_to(folder)) for part in parts]
    examples = names if len(names) < 5 else [*names[:3], "...", names[-1]]
    order = f"{folder}: {len(names)} parts, read in the order {', '.join(examples)}"
    return [*([order] if len(names) > 1 else []), *_missing(parts, folder)]


def _missing(parts: list[Part], folder: Path) -> list[str]:
    """Return a note about each series of files, such as `part-00003-of-00012`, that is not complete."""
    series: dict[tuple[str, str], set[int]] = {}
    for part in parts:
        match = _OF.search(part.path.name)
        if match is not None:
            stem = str((part.path.parent / part.path.name[: match.start()]).relative_to(folder))
            series.setdefault((stem, match[2]), set()).add(int(match[1]))
    notes = []
    for (stem, total), numbers in series.items():
        first = int(int(total) in numbers and 0 not in numbers)  # most programs count from 0, some from 1
        gaps = sorted(set(range(first, first + int(total))) - numbers)
        if gaps:
            examples = ", ".join(map(str, gaps[:5])) + (", ..." if len(gaps) > 5 else "")
            notes.append(
                f"note: {folder} has {len(numbers)} of the {int(total)} parts {stem!r}; missing are the numbers "
                f"{examples}, so their rows are missing too"
            )
    return notes


def _natural(path: Path, kind: str) -> list[list[str | int]]:
    """Return a sort key that puts `emb_2` before `emb_10`, and `emb` before `emb (1)` and `emb-1`."""
    stem = re.sub(rf"\.{kind}(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    return [_pieces(name) for name in (*path.parts[:-1], stem)]


def _pieces(name: str) -> list[str | int]:
    return [int(piece) if place % 2 else piece for place, piece in enumerate(re.split(r"(\d+)", name))]


def _partition(path: Path, folder: Path) -> dict[str, str | None]:
    pairs = [part.partition("=") for part in path.parent.relative_to(folder).parts]
    return {name: None if value == UNKNOWN else unquote(value) for name, sign, value in pairs if sign and name}


def _saved(folder: Path) -> list[Path]:
    """Return the files of a dataset saved by Hugging Face `datasets`, in its order; empty for other folders."""
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        return [path for name in _list(_read(splits), "splits", splits) for path in _saved(folder / str(name))]
    state = folder / "state.json"
    if not state.is_file():
        return []
    card = _read(state)
    if card.get("_indices_data_files"):
        raise SpaceError(
            f"{folder} has a separate order of rows, which is not read; save dataset.flatten_indices() instead"
        )
    files = _list(card, "_data_files", state)
    paths = [folder / str(entry.get("filename") if isinstance(entry, dict) else entry) for entry in files]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise SpaceError(f"{folder} does not have its part {missing.name}; copy the complete folder")
    return paths


def _read(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SpaceError(f"{path} cannot be read: {error}") from None
    if not isinstance(card, dict):
        raise SpaceError(f"{path} is not a JSON object, which `datasets` writes; copy the file again")
    return card


def _list(card: dict[str, Any], key: str, path: Path) -> list[Any]:
    if not isinstance(card.get(key), list):
        raise SpaceError(f"{path} has no list {key!r}, which `datasets` writes; copy the file again")
    return card[key]
