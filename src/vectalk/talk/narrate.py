"""Batch generation: write one text for each vector of a space; each part of the output is written only once."""

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
from vectalk.llm.fingerprint import fingerprint
from vectalk.reading.arrays import read_parquet
from vectalk.reading.cards import checked, read_card, refuse_newer
from vectalk.space import VectorSpace
from vectalk.talk.elm import ELM
from vectalk.talk.engine import TransformersEngine
from vectalk.tasks.suite import slots_in
from vectalk.version import __version__

MANIFEST, FORMAT = "manifest.json", 1
ROWS = 2_048  # rows of a part
MOST_PARTS = 1_000_000
MARK = b"vectalk-fingerprint"
COLUMNS = ("row", "id", "title", "text", "finished")


class Manifest(BaseModel):
    """The fields of `manifest.json` that vectalk reads again."""

    model_config = ConfigDict(strict=True)

    fingerprint: str
    parts: int = Field(ge=0, le=MOST_PARTS)


@dataclass(frozen=True)
class Job:
    """The vectors, the question and the output folder of a batch generation.

    Attributes:
        elm: the model that writes the texts.
        space: the space of the vectors: a space of the run, or one whose vectors come from the same model.
        name: treat the vectors as belonging to this space of the run.
        question: the question; it has one slot.
        decoding: the decoding settings.
        rows: rows of a part.
        folder: the output folder of the parts.
    """

    elm: ELM
    space: VectorSpace
    name: str
    question: str
    decoding: Decoding
    rows: int
    folder: Path

    def _engine(self) -> str:
        """Return the name of the engine, and the precision of an engine in this process."""
        engine = self.elm.engine
        local = isinstance(engine, TransformersEngine)
        return type(engine).__name__ + (f", {self.elm.model.llm.dtype}" if local else "")

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-len(self.space) // self.rows)

    def path(self, part: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"part-{part:05d}.parquet"

    def rows_of(self, part: int) -> range:
        """Return the rows of a part."""
        return range(part * self.rows, min((part + 1) * self.rows, len(self.space)))

    def manifest(self) -> dict[str, Any]:
        """Return everything that determines the texts."""
        run = Path(self.elm.run.path)
        weights = {
            str(place.relative_to(run)): fingerprint(str(place))
            for place in sorted([*(run / "adapters").iterdir(), run / "llm", run / "lora"])
            if place.is_dir()
        }
        inputs = {
            "run": hashlib.sha256((run / "elm.json").read_bytes()).hexdigest(),
            "weights": weights,
            "space": self.space.fingerprint,
            "read_as": self.name,
            "question": self.question,
            "decoding": {
                **self.decoding.settings(),
                **self.elm.naming.settings(self.elm.engine, self.question, self.decoding),
            },
            "engine": self._engine(),
            "rows": len(self.space),
            "rows_per_part": self.rows,
            "vectalk": __version__,
        }
        mark = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        return {"format": FORMAT, "fingerprint": mark, "parts": self.parts, **inputs}


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
    """Check the arguments of a batch generation and return its job.

    Args:
        elm: the model that writes the texts.
        space: name of one of the run's spaces, or the folder of a space.
        out: folder for the parts.
        task: name of a task; its first wording is the question.
        question: any question with one slot, instead of a task.
        name: treat the vectors as belonging to this space of the run; required where the run was not trained on
            them.
        rows: rows of a part.
        decoding: the decoding settings, None in a field for the default of the run; greedy decoding when omitted.

    Raises:
        PromptError: the space, the task or the question does not fit the run.
    """
    if rows < 1:
        raise PromptError(f"a part has {rows} rows; it takes at least 1")
    if (task is None) == (question is None):
        raise PromptError("batch generation takes either a task or a question, not both")
    if task is not None:
        known = {t.name: t for t in elm.suite.tasks}
        if task not in known:
            raise PromptError(f"the run has no task {task!r}; it has {', '.join(known)}")
        question = known[task].prompts[0]
    assert question is not None
    slots = list(dict.fromkeys(slots_in(question)))
    if len(slots) != 1:
        raise PromptError(f"narration asks about one vector at a time; {question!r} has the slots {slots}")
    vectors_space = elm.spaces.get(str(space))
    if vectors_space is None:
        vectors_space = VectorSpace.load(space)
        matches = [n for n, known_space in elm.spaces.items() if known_space.fingerprint == vectors_space.fingerprint]
        name = name or (matches[0] if matches else None)
        if name is None:
            raise PromptError(
                f"{space} is none of the spaces that the run was trained on ({', '.join(elm.spaces)}); where its "
                "vectors come from the same model as those of one of them, say so with --as NAME"
            )
    name = name or str(space)
    if name not in elm.spaces:
        raise PromptError(f"the run has no space {name!r}; it has {', '.join(elm.spaces)}")
    if vectors_space.dim != elm.spaces[name].dim:
        raise PromptError(
            f"{space} has {vectors_space.dim} dimensions, space {name!r} of the run has {elm.spaces[name].dim}"
        )
    settings = (decoding or Decoding()).resolved(elm.defaults)
    return Job(elm, vectors_space, name, question, settings, rows, Path(out))


def narrate(
    job: Job, *, shard: tuple[int, int] = (1, 1), progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Write the missing parts of a shard.

    Several processes, on machines that share the folder, may work on shards of one job. A process that is killed leaves
    complete parts only; start it again to write the rest.

    Args:
        job: the vectors, the question and the output folder.
        shard: (k, n): write every n-th part, starting with part k; k counts from 1.
        progress: called with the number of finished rows and the total of this shard.

    Returns:
        Counts: written `rows` and `parts`, `skipped` parts, `seconds`; the folder `out` and the settings `decoding`.

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
    """Return the report of a batch generation: counts of parts and rows, seconds since `started`, settings."""
    return {
        "parts": len(written),
        "rows": sum(len(job.rows_of(part)) for part in written),
        "skipped": parts - len(written),
        "seconds": round(time.monotonic() - started, 3),
        "out": str(job.folder),
        "decoding": job.decoding.settings(),
    }


def narration(folder: str | Path) -> Iterator[pa.Table]:
    """Yield the parts of a finished batch generation, in order.

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
    """Write the manifest, or compare it with the existing one; return the fingerprint.

    Raises:
        EngineError: the folder holds the narration of something else.
    """
    manifest, path = job.manifest(), job.folder / MANIFEST
    if not path.is_file():
        job.folder.mkdir(parents=True, exist_ok=True)
        if any(job.folder.glob("part-*.parquet")):
            raise EngineError(f"{job.folder} holds parts but no {MANIFEST}; name another folder")
        write_json(path, manifest)
    existing = read_json(path, EngineError)
    refuse_newer(existing, FORMAT, path, EngineError)
    checked(existing, Manifest, path, EngineError)
    if existing["fingerprint"] != manifest["fingerprint"]:
        differences = [key for key in manifest if key != "fingerprint" and existing.get(key) != manifest[key]]
        raise EngineError(
            f"{job.folder} holds the narration of something else: its {', '.join(differences)} differ; "
            "name another folder"
        )
    return str(manifest["fingerprint"])


def _is_written(path: Path, mark: str) -> bool:
    try:
        return (pq.read_schema(path).metadata or {}).get(MARK) == mark.encode()
    except (pa.ArrowException, OSError, ValueError):  # a missing or broken part is written again
        return False


def write_part(job: Job, part: int, mark: str, progress: Callable[[int, int], None] = lambda done, total: None) -> bool:
    """Write a part unless it already exists; return whether it was written.

    Args:
        job: the vectors, the question and the output folder.
        part: number of the part.
        mark: fingerprint of the manifest.
        progress: called with the number of finished rows and the total of this part.
    """
    path, slot, rows = job.path(part), slots_in(job.question)[0], job.rows_of(part)
    if _is_written(path, mark):
        return False
    for leftover in job.folder.glob(f".{path.stem}.*.tmp{path.suffix}"):  # left by a process that was killed
        leftover.unlink(missing_ok=True)
    vectors = np.asarray(job.space.vectors[rows.start : rows.stop], np.float32)
    decoding = replace(job.decoding, seed=job.decoding.seed + rows.start)  # each row has its own random numbers
    answers = job.elm.writer.generate(
        [job.question] * len(rows), [{slot: (job.name, vector)} for vector in vectors], decoding, progress
    )
    ids = job.space.column("id")
    table = pa.table(
        {
            "row": pa.array(list(rows), pa.int64()),
            "id": pa.array([str(ids[row].as_py()) for row in rows], pa.string()),
            "title": pa.array([job.space.title(row) for row in rows], pa.string()),
            "text": pa.array([one.text for one in answers], pa.string()),
            "finished": pa.array([one.finished for one in answers], pa.bool_()),
        }
    ).replace_schema_metadata({MARK: mark.encode()})
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    return True
