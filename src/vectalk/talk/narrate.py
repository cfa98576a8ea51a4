"""Bulk narration: one text for each vector of a space, in parts that are written once and never again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from vectalk.decoding.settings import Decoding
from vectalk.errors import EngineError, PromptError
from vectalk.files import atomic_file, read_json, write_json
from vectalk.llm.loading import fingerprint
from vectalk.reading.arrays import read_parquet
from vectalk.reading.cards import checked, read_card, refuse_newer
from vectalk.space import VectorSpace
from vectalk.talk.elm import ELM
from vectalk.talk.engine import TransformersEngine
from vectalk.tasks.suite import slots_in
from vectalk.version import __version__

MANIFEST, FORMAT = "manifest.json", 1
ROWS = 2_048  # of a part
MOST_PARTS = 1_000_000
MARK = b"vectalk-fingerprint"
COLUMNS = ("row", "id", "title", "text", "finished")


class Manifest(BaseModel):
    """`manifest.json`, as far as it is read again."""

    model_config = ConfigDict(strict=True)

    fingerprint: str
    parts: int = Field(ge=0, le=MOST_PARTS)


@dataclass(frozen=True)
class Job:
    """What is narrated, and into what.

    Attributes:
        elm: who writes.
        space: whose vectors; of the run, or one of the same make.
        name: as which of the run's spaces they are read.
        question: with one slot.
        decoding: how.
        rows: of a part.
        folder: where the parts go.
    """

    elm: ELM
    space: VectorSpace
    name: str
    question: str
    decoding: Decoding
    rows: int
    folder: Path

    def _engine(self) -> str:
        """Return what engine writes; in this process, in which precision."""
        engine = self.elm.engine
        local = isinstance(engine, TransformersEngine)
        return type(engine).__name__ + (f", {self.elm.model.llm.dtype}" if local else "")

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-len(self.space) // self.rows)

    def path(self, part: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"part-{part:05d}.parquet"

    def rows_of(self, part: int) -> range:
        """Return the rows of a part."""
        return range(part * self.rows, min((part + 1) * self.rows, len(self.space)))

    def manifest(self) -> dict[str, Any]:
        """Return all that decides the texts."""
        run = Path(self.elm.run.path)
        weights = {
            str(place.relative_to(run)): fingerprint(str(place))
            for place in sorted([*(run / "adapters").iterdir(), run / "llm", run / "lora"])
            if place.is_dir()
        }
        matters = {
            "run": hashlib.sha256((run / "elm.json").read_bytes()).hexdigest(),
            "weights": weights,
            "space": self.space.fingerprint,
            "read_as": self.name,
            "question": self.question,
            "decoding": self.decoding.settings(),
            "engine": self._engine(),
            "rows": len(self.space),
            "rows_per_part": self.rows,
            "vectalk": __version__,
        }
        mark = hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()
        return {"format": FORMAT, "fingerprint": mark, "parts": self.parts, **matters}


def job(
    elm: ELM,
    space: str | Path,
    out: str | Path,
    *,
    task: str | None = None,
    question: str | None = None,
    name: str | None = None,
    rows: int = ROWS,
    decoding: Decoding | None = None,
) -> Job:
    """Say what is to be narrated.

    Args:
        elm: who writes.
        space: name of one of the run's spaces, or the folder of a space.
        out: folder for the parts.
        task: name of a task, whose first wording is asked.
        question: or any question with one slot.
        name: as which of the run's spaces other vectors are to be read; needed where they are not the ones that it
            was trained on.
        rows: of a part.
        decoding: how; greedy when omitted.

    Raises:
        PromptError: space, task or question do not fit the run.
    """
    if rows < 1:
        raise PromptError(f"a part has {rows} rows; it takes at least 1")
    if (task is None) == (question is None):
        raise PromptError("narration takes a task or a question: one of the two")
    if task is not None:
        known = {t.name: t for t in elm.suite.tasks}
        if task not in known:
            raise PromptError(f"the run has no task {task!r}; it has {', '.join(known)}")
        question = known[task].prompts[0]
    assert question is not None
    slots = list(dict.fromkeys(slots_in(question)))
    if len(slots) != 1:
        raise PromptError(f"narration asks about one vector at a time; {question!r} has the slots {slots}")
    found = elm.spaces.get(str(space))
    if found is None:
        found = VectorSpace.load(space)
        same = [n for n, known_space in elm.spaces.items() if known_space.fingerprint == found.fingerprint]
        name = name or (same[0] if same else None)
        if name is None:
            raise PromptError(
                f"{space} is none of the spaces that the run was trained on ({', '.join(elm.spaces)}); where its "
                "vectors come from the same model as those of one of them, say so with --as NAME"
            )
    name = name or str(space)
    if name not in elm.spaces:
        raise PromptError(f"the run has no space {name!r}; it has {', '.join(elm.spaces)}")
    if found.dim != elm.spaces[name].dim:
        raise PromptError(f"{space} has {found.dim} dimensions, space {name!r} of the run has {elm.spaces[name].dim}")
    return Job(elm, found, name, question, decoding or Decoding(), rows, Path(out))


def narrate(
    job: Job, *, shard: tuple[int, int] = (1, 1), progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Write the parts of a shard that are not there yet.

    Any number of processes, on any machines that share the folder, may work on shards of one job; one that is killed
    leaves whole parts only, and is simply started again.

    Args:
        job: what is narrated.
        shard: (k, n): every n-th part, from the k-th on; k counts from 1.
        progress: called with rows done and rows in all, of this shard.

    Returns:
        Counts: `rows` and `parts` written, `skipped` parts, `seconds`.

    Raises:
        EngineError: the folder holds the narration of something else.
    """
    mine, count = shard
    if not 1 <= mine <= count:
        raise PromptError(f"shard {mine}/{count} does not exist; shards count from 1/{count} to {count}/{count}")
    mark = open_folder(job)
    started = time.monotonic()
    parts = range(mine - 1, job.parts, count)
    total = sum(len(job.rows_of(part)) for part in parts)
    done, written = 0, list[int]()
    for part in parts:
        if write_part(job, part, mark, lambda n, _, done=done: progress(done + n, total)):  # type: ignore[misc]
            written.append(part)
        done += len(job.rows_of(part))
        progress(done, total)
    return summary(job, len(parts), written, started)


def summary(job: Job, parts: int, written: Sequence[int], started: float) -> dict[str, Any]:
    """Return what was done: which of so many parts were written, since when."""
    return {
        "parts": len(written),
        "rows": sum(len(job.rows_of(part)) for part in written),
        "skipped": parts - len(written),
        "seconds": round(time.monotonic() - started, 3),
        "out": str(job.folder),
    }


def narration(folder: str | Path) -> Iterator[pa.Table]:
    """Yield the parts of a finished narration, in order.

    Raises:
        EngineError: parts are missing or broken, or a newer version wrote them.
    """
    folder = Path(folder)
    manifest: Manifest = read_card(folder / MANIFEST, FORMAT, Manifest, EngineError)
    paths = [folder / f"part-{part:05d}.parquet" for part in range(manifest.parts)]
    missing = [path.name for path in paths if not _is_written(path, manifest.fingerprint)]
    if missing:
        raise EngineError(f"{folder} lacks {len(missing)} of {len(paths)} parts ({missing[0]}, ...); narrate again")
    yield from (read_parquet(path, COLUMNS, error=EngineError) for path in paths)


def open_folder(job: Job) -> str:
    """Write the manifest, or compare it with the one that is there; returns the fingerprint.

    Raises:
        EngineError: the folder holds the narration of something else.
    """
    wanted, path = job.manifest(), job.folder / MANIFEST
    if not path.is_file():
        job.folder.mkdir(parents=True, exist_ok=True)
        if any(job.folder.glob("part-*.parquet")):
            raise EngineError(f"{job.folder} holds parts but no {MANIFEST}; name another folder")
        write_json(path, wanted)
    found = read_json(path, EngineError)
    refuse_newer(found, FORMAT, path, EngineError)
    checked(found, Manifest, path, EngineError)
    if found["fingerprint"] != wanted["fingerprint"]:
        other = [key for key in wanted if key != "fingerprint" and found.get(key) != wanted[key]]
        raise EngineError(
            f"{job.folder} holds the narration of something else: its {', '.join(other)} differ; name another folder"
        )
    return str(wanted["fingerprint"])


def _is_written(path: Path, mark: str) -> bool:
    try:
        return (pq.read_schema(path).metadata or {}).get(MARK) == mark.encode()
    except (pa.ArrowException, OSError, ValueError):  # it is not there, or broken, and is made anew
        return False


def write_part(job: Job, part: int, mark: str, progress: Callable[[int, int], None] = lambda done, total: None) -> bool:
    """Write a part; returns whether it had to be made.

    Args:
        job: what is narrated.
        part: its number.
        mark: fingerprint of the manifest.
        progress: called with rows done and rows in all, of this part.
    """
    path, slot, rows = job.path(part), slots_in(job.question)[0], job.rows_of(part)
    if _is_written(path, mark):
        return False
    for left in job.folder.glob(f".{path.stem}.*.tmp{path.suffix}"):  # by a process that was killed
        left.unlink(missing_ok=True)
    vectors = np.asarray(job.space.vectors[rows.start : rows.stop], np.float32)
    decoding = replace(job.decoding, seed=job.decoding.seed + rows.start)  # each row draws its own, whatever its part
    made = job.elm.engine.generate(
        [job.question] * len(rows), [{slot: (job.name, vector)} for vector in vectors], decoding, progress
    )
    ids = job.space.column("id")
    table = pa.table(
        {
            "row": pa.array(list(rows), pa.int64()),
            "id": pa.array([str(ids[row].as_py()) for row in rows], pa.string()),
            "title": pa.array([job.space.title(row) for row in rows], pa.string()),
            "text": pa.array([one.text for one in made], pa.string()),
            "finished": pa.array([one.finished for one in made], pa.bool_()),
        }
    ).replace_schema_metadata({MARK: mark.encode()})
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    return True
