"""Bulk narration over Ray Data: actors with an engine each write the parts, wherever they run.

The parts are those of `vectalk.talk.narrate`, and they are the checkpoints: an actor writes a whole part or nothing,
Ray starts an actor that died again and gives it its part again, and a job that is started again skips what is there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vectalk.decoding.settings import Decoding, Generated
from vectalk.errors import EngineError, PromptError, VectalkError
from vectalk.talk.elm import ELM
from vectalk.talk.engine import Progress, Slots, TransformersEngine
from vectalk.talk.narrate import job, open_folder, summary, write_part


def narrate_with_ray(
    run: str | Path,
    space: str | Path,
    out: str | Path,
    *,
    workers: int = 2,
    spaces: Mapping[str, str | Path] | None = None,
    llm: str | None = None,
    device: str = "auto",
    batch_size: int = 128,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **what: Any,
) -> dict[str, Any]:
    """Write one text for each vector of a space, as `narrate` does, by actors on a Ray cluster.

    It is the cluster that is connected to already, or that RAY_ADDRESS or a running `ray start` names, else one on this
    machine for as long as it takes. Each actor has a core and, where the cluster has GPUs and `device` is not `cpu`, a
    GPU. All machines must see the folders under the same paths.

    Args:
        run: folder of a run, or `owner/name` on the hub.
        space: name of one of its spaces, or the folder of a space.
        out: folder for the parts.
        workers: actors.
        spaces: folders of spaces that moved, by name.
        llm: another place of the base LLM, where it moved.
        device: of each actor.
        batch_size: rows that an actor writes at once.
        progress: called with rows done and rows in all, when a part is done.
        what: the other arguments of `vectalk.talk.narrate.job`.

    Returns:
        Counts: `rows` and `parts` written, `skipped` parts, `seconds`.

    Raises:
        EngineError: Ray is not installed; the folder holds the narration of something else.
        PromptError: space, task or question do not fit the run.
    """
    if workers < 1:
        raise PromptError(f"workers is {workers}; it takes at least 1")
    load: dict[str, Any] = {
        "run": _absolute(run),
        "spaces": {name: _absolute(place) for name, place in (spaces or {}).items()},
        "llm": None if llm is None else _absolute(llm),
    }
    # What does not fit is told before Ray starts.
    plan = job(ELM.from_pretrained(**load, engine=Elsewhere()), space, Path(out).absolute(), **what)
    where = str(space) if str(space) in plan.elm.spaces else _absolute(space)
    planned = {"space": where, "out": str(plan.folder), **what}
    ray, started_here = _connected(workers)
    started, total, done, written = time.monotonic(), len(plan.space), 0, list[int]()
    try:
        gpus = int(device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0)
        parts = ray.data.from_items([{"part": part} for part in range(plan.parts)], override_num_blocks=plan.parts)
        reports = parts.map_batches(
            Narrator,
            fn_constructor_args=({**load, "device": device}, planned, batch_size),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, plan.parts), max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            num_gpus=gpus,
        )
        for report in reports.iter_rows():
            if report["error"]:
                raise EngineError(report["error"])
            part = int(report["part"])
            if report["written"]:
                written.append(part)
            done += len(plan.rows_of(part))
            progress(done, total)
    finally:
        if started_here:
            ray.shutdown()
    return summary(plan, plan.parts, written, started)


class Narrator:
    """What an actor does: load the run once, write the parts that it is given.

    Args:
        load: arguments of `ELM.from_pretrained`.
        planned: arguments of `job`.
        batch_size: rows written at once.
    """

    def __init__(self, load: dict[str, Any], planned: dict[str, Any], batch_size: int) -> None:
        self.error = ""
        try:
            elm = ELM.from_pretrained(**load)
            assert isinstance(elm.engine, TransformersEngine)
            elm.engine.batch_size = batch_size
            self.job = job(elm, **planned)
            self.mark = open_folder(self.job)
        except VectalkError as error:  # told by the first part, since Ray would wrap it up
            self.error = str(error)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Sequence[Any]]:
        """Write parts; returns for each whether it had to be made, and what went wrong."""
        parts, made = batch["part"].tolist(), list[bool]()
        for part in parts:
            try:
                made.append(not self.error and write_part(self.job, part, self.mark))
            except VectalkError as error:
                self.error = str(error)
                made.append(False)
        return {"part": parts, "written": made, "error": [self.error] * len(parts)}


class Elsewhere:
    """The engine of a process that leaves the writing to others, and so loads no LLM."""

    def generate(
        self,
        questions: Sequence[str],
        slots: Sequence[Slots],
        decoding: Decoding,
        progress: Progress = lambda done, total: None,
    ) -> list[Generated]:
        """Raise an EngineError."""
        self._refuse()

    def stream(self, question: str, slots: Slots, decoding: Decoding) -> Generator[str, None, Generated]:
        """Raise an EngineError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise EngineError("nothing is written in this process; the actors have the engines")


def _connected(workers: int) -> tuple[Any, bool]:
    """Return Ray, connected to a cluster, and whether the cluster was started for this."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent home
    try:
        import ray
        import ray.data
    except ImportError:
        raise EngineError("narration over Ray needs Ray: pip install 'vectalk[ray]'") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    if ray.is_initialized():
        return ray, False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address="auto", **quiet)
    except ConnectionError:
        ray.init(address="local", num_cpus=max(workers, os.cpu_count() or 1), include_dashboard=False, **quiet)
    return ray, True


def _absolute(place: str | Path) -> str:
    """Return a folder's whole path, for actors work in other folders; what is no folder is a name."""
    return str(Path(place).absolute()) if Path(place).exists() else str(place)
