"""Batch generation over Ray Data: each actor has an engine and writes parts on its machine.

The parts are those of `vectalk.talk.narrate`, and they are the checkpoints: an actor writes a complete part or nothing,
Ray restarts an actor that died and gives the part to it again, and a restarted job skips the parts that exist.
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

    The function uses the connected cluster, or the cluster that RAY_ADDRESS or a running `ray start` names, else a
    temporary cluster on this machine. Each actor has a core and, if the cluster has GPUs and `device` is not `cpu`,
    a GPU. All machines must see the folders under the same paths.

    Args:
        run: folder of a run, or `owner/name` on the hub.
        space: name of one of the run's spaces, or the folder of a space.
        out: folder for the parts.
        workers: number of actors.
        spaces: name -> new folder of a space that moved.
        llm: new place of a base LLM that moved.
        device: device of each actor.
        batch_size: rows that an actor decodes in one step.
        progress: called after each part with the number of finished rows and the total.
        what: further arguments of `vectalk.talk.narrate.job`.

    Returns:
        The report of `narrate`.

    Raises:
        EngineError: Ray is not installed; the folder holds the narration of something else.
        PromptError: the space, the task or the question does not fit the run.
    """
    if workers < 1:
        raise PromptError(f"workers is {workers}; it takes at least 1")
    load: dict[str, Any] = {
        "run": _absolute(run),
        "spaces": {name: _absolute(place) for name, place in (spaces or {}).items()},
        "llm": None if llm is None else _absolute(llm),
    }
    # Check the arguments before Ray starts.
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
    """An actor: loads the run once and writes the parts that Ray passes to it.

    Args:
        load: arguments of `ELM.from_pretrained`.
        planned: arguments of `job`.
        batch_size: rows decoded in one step.
    """

    def __init__(self, load: dict[str, Any], planned: dict[str, Any], batch_size: int) -> None:
        self.error = ""
        try:
            elm = ELM.from_pretrained(**load)
            assert isinstance(elm.engine, TransformersEngine)
            elm.engine.batch_size = batch_size
            self.job = job(elm, **planned)
            self.mark = open_folder(self.job)
        except VectalkError as error:  # the first part reports the error, since Ray would wrap it
            self.error = str(error)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Sequence[Any]]:
        """Write parts; return for each part whether it was written, and the error."""
        parts, flags = batch["part"].tolist(), list[bool]()
        for part in parts:
            try:
                flags.append(not self.error and write_part(self.job, part, self.mark))
            except VectalkError as error:
                self.error = str(error)
                flags.append(False)
        return {"part": parts, "written": flags, "error": [self.error] * len(parts)}


class Elsewhere:
    """The engine of the process that plans the work: loads no LLM and writes nothing."""

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
        raise EngineError("this process writes no texts; the engines are in the actors")


def _connected(workers: int) -> tuple[Any, bool]:
    """Return Ray, connected to a cluster, and whether this call started the cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports
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
    """Return the absolute path of a folder, since actors work in other folders; a name stays as it is."""
    return str(Path(place).absolute()) if Path(place).exists() else str(place)
