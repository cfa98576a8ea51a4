"""`Budget`: how many steps of each stage fit into a given time, from a few measured steps."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from vectalk.errors import TrainingError
from vectalk.files import read_json, write_json
from vectalk.reading.cards import checked
from vectalk.training.allocator import keep_freed_memory
from vectalk.training.config import TrainConfig
from vectalk.training.decoding_choice import CANDIDATES, EXAMPLES, LONGEST
from vectalk.training.folder import RunFolder
from vectalk.training.rehearsal import Estimate, rehearse
from vectalk.training.reporter import Reporter
from vectalk.training.setup import Setup

FILE = "budget.json"
RESERVE = 0.05  # share of the time for work that is not estimated: the start as words, checkpoints, writing the run
TOLERANCE = 1.1  # a stage stops early when its steps take this many times their share of the time


class Budget(BaseModel):
    """Numbers of steps that fit into a time.

    Attributes:
        steps: optimiser steps of stage 1 and of stage 2.
        seconds: longest time in optimiser steps until the end of stage 1 and of stage 2, in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: tuple[int, int]
    seconds: tuple[float, float]

    @classmethod
    def fit(cls, estimate: Estimate, config: TrainConfig, seconds: float, answer_tokens: float = 0.0) -> Budget:
        """Return the largest numbers of steps that fit, at most those of the settings, in their proportion.

        Args:
            estimate: what the settings' steps would take.
            config: settings.
            seconds: time from now to the end of training, in seconds.
            answer_tokens: mean length of an answer, in tokens, for the choice of decoding settings.

        Raises:
            TrainingError: not even one step of each stage fits.
        """
        stages = estimate.stages
        fixed = sum(2 * stage.evaluation_seconds + stage.teacher_seconds for stage in stages)
        if config.choose_decoding:  # a decoding step reads a token of each row; twice the time of a forward pass
            last = stages[-1]
            forward = last.seconds_per_step / 3 / max(last.tokens_per_step, 1.0)
            fixed += 2 * forward * len(CANDIDATES) * EXAMPLES * min(LONGEST, 2 * answer_tokens)
        free = seconds * (1 - RESERVE) - fixed
        times = {stage.stage: stage.steps * stage.seconds_per_step for stage in stages}
        evaluations = sum(stage.steps * stage.evaluation_seconds / config.eval_every for stage in stages)
        share = min(1.0, free / (sum(times.values()) + evaluations))
        steps = {stage.stage: int(share * stage.steps) for stage in stages}
        if min(steps.values()) < 1:
            one = max((sum(times.values()) + evaluations) / stage.steps for stage in stages)
            missing = (fixed + one) / (1 - RESERVE) - seconds
            raise TrainingError(
                f"minutes is {config.minutes:g}: no training step fits into this time; give about "
                f"{config.minutes + missing / 60 + 0.1:.1f} minutes at least"  # type: ignore[operator]
            )
        reached, limits = 0.0, []
        for number in (1, 2):
            reached += times.get(number, 0.0)
            limits.append(TOLERANCE * max(free - share * evaluations, 0.0) * reached / sum(times.values()))
        return cls(steps=(steps.get(1, 0), steps.get(2, 0)), seconds=(limits[0], limits[1]))

    def limit(self, folder: RunFolder) -> None:
        """Lower the steps of a run in progress, and store the numbers for `--resume`."""
        config = folder.config
        stages = {
            f"stage{number}": getattr(config, f"stage{number}").model_copy(update={"steps": steps})
            for number, steps in enumerate(self.steps, start=1)
        }
        folder.config, folder.seconds = config.model_copy(update=stages), self.seconds
        write_json(folder.checkpoints / FILE, self.model_dump())

    def __str__(self) -> str:
        """Return the steps of the stages that have some, as text."""
        return " and ".join(f"{steps:,} steps of stage {n}" for n, steps in enumerate(self.steps, start=1) if steps)


def stored(out: Path) -> Budget | None:
    """Return the budget of an unfinished run; None if the run has none."""
    file = out / "checkpoints" / FILE
    if not file.is_file():
        return None
    budget: Budget = checked(read_json(file, TrainingError), Budget, file, TrainingError)
    return budget


def measure(setup: Setup, reporter: Reporter, started: float) -> Budget:
    """Measure a few steps of each stage, and return the numbers of steps that fit into `minutes` of the settings.

    Args:
        setup: what training would start from; its model is changed, so train with another one.
        reporter: receives the progress.
        started: time at which training began, of `time.monotonic`.

    Raises:
        TrainingError: the time is too short, or there are several processes.
    """
    config = setup.config
    assert config.minutes is not None
    if setup.accelerator.num_processes > 1:
        raise TrainingError("minutes works only in one process; with several processes, set the steps of the stages")
    if config.keep_freed_memory and setup.model.device.type == "cpu":
        keep_freed_memory()  # as in training
    estimate = rehearse(setup, _Measuring(reporter))
    return Budget.fit(estimate, config, 60 * config.minutes - (time.monotonic() - started), answer_tokens(setup))


def answer_tokens(setup: Setup) -> float:
    """Return the mean length of the first training targets, in tokens."""
    targets = setup.train_set.target_ids(np.arange(min(EXAMPLES, len(setup.train_set))))
    return float(np.mean([len(ids) for ids in targets]))


class _Measuring:
    """Reports measured steps as work, so that no bar of a stage begins before training."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """Report a measured step."""
        self.reporter.work(f"measuring steps of stage {stage}", done, steps)

    def work(self, what: str, done: int, total: int) -> None:
        """Report other work."""
        self.reporter.work(what, done, total)
