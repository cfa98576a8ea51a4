"""Corpora: training examples in parquet files that refer to vectors by row number instead of copying them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from vectalk.errors import CorpusError, VectalkError
from vectalk.files import holds, put_back, read_json
from vectalk.hub_address import HubAddress
from vectalk.reading.arrays import read_parquet
from vectalk.reading.cards import checked, refuse_newer
from vectalk.reading.fields import PathText
from vectalk.space import VectorSpace
from vectalk.space.split import SPLITS
from vectalk.tasks.suite import Suite

FORMAT = 1
SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("prompt", pa.string()),
        ("slots", pa.list_(pa.struct([("slot", pa.string()), ("space", pa.string()), ("row", pa.int64())]))),
        ("target", pa.string()),
        ("split", pa.string()),
        ("teacher", pa.string()),
    ]
)


@dataclass(frozen=True)
class Example:
    """One question with its target text.

    Attributes:
        task: name of the task.
        prompt: the question, with its slots in braces.
        slots: slot name -> (space, row).
        target: the text that the model learns to write.
        split: `train` if all entities are of train; `test` if any is of test; else `validation`.
        teacher: name of the teacher that wrote the target.
    """

    task: str
    prompt: str
    slots: dict[str, tuple[str, int]]
    target: str
    split: str
    teacher: str

    def row(self) -> dict[str, Any]:
        """Return the example as a row of the parquet schema."""
        slots = [{"slot": slot, "space": space, "row": row} for slot, (space, row) in self.slots.items()]
        return {**self.__dict__, "slots": slots}


class Counts(BaseModel):
    """Number of examples of each split."""

    model_config = ConfigDict(strict=True)

    train: int = Field(ge=0)
    validation: int = Field(ge=0)
    test: int = Field(ge=0)


class SpaceOf(BaseModel):
    """A space that a corpus was built from; the path is relative to the folder of the corpus."""

    model_config = ConfigDict(strict=True)

    path: PathText
    fingerprint: str
    split_hash: str | None = None
    dim: int | None = Field(None, ge=1)


class CorpusCard(BaseModel):
    """The required fields of `corpus.json`; the file has more."""

    model_config = ConfigDict(strict=True)

    spaces: dict[str, SpaceOf] = Field(min_length=1)
    suite: str
    teacher: str
    counts: Counts
    tasks: dict[str, int] = Field(default_factory=dict)
    sha256: dict[str, str] = Field(default_factory=dict)


class Corpus:
    """A built corpus, opened with `load`. Attributes: `path`, `card` (corpus.json), `suite`, `spaces`."""

    def __init__(self, path: Path, card: dict[str, Any], suite: Suite, spaces: dict[str, VectorSpace]) -> None:
        self.path, self.card, self.suite, self.spaces = path, card, suite, spaces

    @classmethod
    def load(cls, path: str | Path, spaces: Mapping[str, str | Path] | None = None) -> Corpus:
        """Open a corpus and the spaces that it was built from.

        Args:
            path: folder of the corpus.
            spaces: name of a space -> its folder, for spaces that were moved.

        Raises:
            CorpusError: the folder is no corpus, a newer version of vectalk wrote it, or a space has changed.
        """
        folder = Path(path)
        if not holds(folder, "corpus.json"):
            reason = "no such folder" if not folder.exists() else "it has no corpus.json"
            raise CorpusError(f"{folder} is not a corpus ({reason}); build one with `vectalk corpus build`")
        card = read_json(folder / "corpus.json", CorpusError)
        refuse_newer(card, FORMAT, folder / "corpus.json", CorpusError)
        known: CorpusCard = checked(card, CorpusCard, folder / "corpus.json", CorpusError)
        unknown = set(spaces or {}) - set(known.spaces)
        if unknown:
            raise CorpusError(f"corpus {folder} has no space {sorted(unknown)[0]!r}; it has {', '.join(known.spaces)}")
        opened = {}
        for name, space in known.spaces.items():
            place = Path((spaces or {}).get(name) or folder / space.path)
            opened[name] = open_space(name, place, space.fingerprint, space.split_hash, f"corpus {folder}")
        return cls(folder, card, Suite.load(folder / "suite.yaml"), opened)

    def table(self, split_name: str, task: str | None = None) -> pa.Table:
        """Return the examples of a split, or of one task of it, as a table (texts and row numbers; no vectors)."""
        parts = self.parts(split_name)
        if not parts:
            return SCHEMA.empty_table()
        task_filter = None if task is None else pc.field("task") == task
        return pa.concat_tables(
            self._checked(_typed(read_parquet(part, SCHEMA.names, filters=task_filter, error=CorpusError), part), part)
            for part in parts
        )

    def batches(self, split_name: str, size: int, *, whole: bool = True) -> Iterator[pa.Table]:
        """Yield the examples of a split as tables of at most `size` rows; no file is read into memory at once.

        Args:
            split_name: the split.
            size: the most rows of a table.
            whole: raise an error for examples that lack a value or refer to rows that do not exist.

        Raises:
            CorpusError: a file is broken or holds no examples.
        """
        for part in self.parts(split_name):
            try:
                with pq.ParquetFile(part) as file:
                    for batch in file.iter_batches(size, columns=SCHEMA.names):
                        batch.validate(full=True)
                        table = _typed(pa.Table.from_batches([batch]), part)
                        yield self._checked(table, part) if whole else table
            except (pa.ArrowException, OSError, KeyError) as error:
                raise CorpusError(f"{part} cannot be read: {error}; build the corpus again") from None

    def parts(self, split_name: str) -> list[Path]:
        """Return the parquet files of a split, in order."""
        return sorted(self.path.glob(f"{split_name}-*.parquet"))

    def _checked(self, table: pa.Table, part: Path) -> pa.Table:
        """Return the table; raise a CorpusError if an example lacks a value or refers to a row that does not exist."""
        slots = table["slots"].combine_chunks()
        fields = {name: pc.struct_field(slots.flatten(), name) for name in ("slot", "space", "row")}
        if any(column.null_count for column in (*table.columns, slots.flatten(), *fields.values())):
            raise CorpusError(f"{part}: an example lacks a value; build the corpus again")
        for name in pc.unique(fields["space"]).to_pylist():
            rows = fields["row"].filter(pc.equal(fields["space"], name))
            if name not in self.spaces or pc.min(rows).as_py() < 0 or pc.max(rows).as_py() >= len(self.spaces[name]):
                raise CorpusError(
                    f"{part}: an example refers to a row that space {name!r} does not have; the corpus has the spaces "
                    f"{', '.join(f'{known} ({len(space)} rows)' for known, space in self.spaces.items())}"
                )
        return table

    def __len__(self) -> int:
        return sum(self.card["counts"][split_name] for split_name in SPLITS)

    def examples(self, split_name: str, task: str | None = None) -> Iterator[Example]:
        """Yield the examples of a split, in the order in which they were built."""
        if split_name not in SPLITS:
            raise CorpusError(f"unknown split {split_name!r}; use one of {', '.join(SPLITS)}")
        for batch in self.table(split_name, task).to_batches(max_chunksize=2048):
            for row in batch.to_pylist():
                row["slots"] = {s["slot"]: (s["space"], s["row"]) for s in row["slots"]}
                yield Example(**row)

    def vectors(self, example: Example) -> dict[str, tuple[str, np.ndarray]]:
        """Return slot -> (name of the space, vector [D]) of an example."""
        return {
            slot: (space, np.asarray(self.spaces[space].vectors[row], np.float32))
            for slot, (space, row) in example.slots.items()
        }


def _typed(table: pa.Table, part: Path) -> pa.Table:
    """Return a table with the columns and types of SCHEMA; raise a CorpusError if the table does not fit."""
    try:
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise CorpusError(f"{part} holds no examples: {error}; build the corpus again") from None


def open_space(
    name: str,
    place: Path,
    fingerprint: str,
    split_hash: str | None,
    user: str,
    dim: int | None = None,
    error: type[VectalkError] = CorpusError,
) -> VectorSpace:
    """Open a space and check that it is the space that `user` was built with.

    Args:
        name: name of the space.
        place: folder of the space, or its address on the hub.
        fingerprint: hash of the ids and vectors that `user` was built with.
        split_hash: hash of the split that `user` was built with; with another split, training entities would count as
            unseen. None if `user` is older than hashes of splits.
        user: the corpus or run that uses the space, e.g. `corpus films`, for the error message.
        dim: dimension of the vectors that `user` was built with, for a clearer error message.
        error: class of the error to raise.

    Returns:
        The space.

    Raises:
        VectalkError: of class `error`; the space does not exist, or it has other ids, vectors or another split.
    """
    try:
        put_back(place)
        there = place.exists()
    except OSError:  # not a valid path
        there = False
    if not there and HubAddress.read(place) is None:
        raise error(
            f"{user} looks for its space {name!r} at {place}, but nothing is there: one of the two was moved; give the "
            f"folder of the space with --space {name}=DIR"
        )
    space = VectorSpace.load(place)
    again = f"give the right folder with --space {name}=DIR, or make the corpus and the run again"
    if dim is not None and space.dim != dim:
        raise error(f"{user} was made with vectors of {dim} dimensions for {name!r}, {place} has {space.dim}; {again}")
    if space.fingerprint != fingerprint:
        raise error(
            f"{user} was made with space {name!r} of fingerprint {fingerprint[:12]}, but {place} has "
            f"{space.fingerprint[:12]} (D={space.dim}): its ids or vectors changed; {again}"
        )
    if split_hash is not None and space.split_hash != split_hash:
        raise error(
            f"{user} was made with another split of space {name!r}: ids and vectors of {place} are the same, but its "
            f"split differs (it is split by {space.split_by}), so entities seen in training would count as unseen; "
            f"{again}"
        )
    return space


def relative(place: Path | None, folder: Path) -> str:
    """Return the path of a saved space relative to a folder; it stays valid if both are moved together."""
    if place is None:
        raise CorpusError("a space must be saved before a corpus or a run can refer to it")
    return os.path.relpath(Path(place).resolve(), folder.resolve())
