"""`Trainer`: both stages one after the other, resumed exactly where they were (paper, section 3.1)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from vectalk.errors import TrainingError
from vectalk.model.run import Run
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.training import checkpoint, words
from vectalk.training.allocator import keep_freed_memory
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.finish import finish
from vectalk.training.loop import DivergedError, autocast
from vectalk.training.reporter import Reporter, Silent
from vectalk.training.result import Trained
from vectalk.training.setup import Setup
from vectalk.training.sharding import shard
from vectalk.training.stage import Progress, prepare
from vectalk.training.stage_run import StageRun


class Trainer:
    """Trains adapters, and then the LLM with them, on a corpus; make one with `make_trainer`.

    Args:
        setup: what training starts from.
        reporter: is told of the steps.
    """

    def __init__(self, setup: Setup, reporter: Reporter) -> None:
        self.setup, self.model, self.folder = setup, setup.model, setup.folder
        self.train_set, self.validation_set = setup.train_set, setup.validation_set
        self.report = reporter if setup.main else Silent()
        self.peft_model: Any = None
        self.how = "frozen"

    def run(self) -> Run:
        """Train all stages and return the finished run."""
        if self.setup.config.keep_freed_memory and self.model.device.type == "cpu":
            keep_freed_memory()
        with _flushed():
            return self._run()

    def _run(self) -> Run:
        setup, progress = self.setup, Progress()
        saved = checkpoint.list_checkpoints(self.folder.checkpoints)
        if saved:
            progress = Progress.read(checkpoint.read_state(saved[-1]))
            setup.tell(f"going on from stage {progress.stage}, step {progress.step}")
        else:
            prompt, _ = self.train_set.prompt(0)
            setup.tell(f"one example, what is learned between »«:\n{setup.prompts.show(prompt)}")
            if setup.config.adapter.start == "words":
                self._start_as_words()
        self._tell_of_processes()
        if setup.sharded:
            self._shard()
        setup.accelerator.wait_for_everyone()
        if setup.main:
            self.folder.truncate_log(progress if saved else None)
            checkpoint.remove_unfinished(self.folder.checkpoints)
        for number, stage in enumerate(setup.stages, start=1):
            if number < progress.stage or stage.steps == 0:
                self._restore_best(number, stage)
                continue
            if number > progress.stage:
                progress = progress.next_stage(number)
            try:
                self._enter(stage)
                StageRun(setup, stage, progress, self.report).run(saved[-1] if saved and progress.step else None)
            except DivergedError as error:
                self._rescue(error, progress)
            saved = []
        return self._finish(progress)

    def _start_as_words(self) -> None:
        tell = partial(self.report.work, "adapters started as words")
        losses = words.start(self.model, self.train_set, self.setup.config, self.setup.factory.fresh, tell)
        for spaces, (first, last) in losses.items():
            self.setup.tell(f"start of adapter {spaces}: loss of the words {first:.3f} -> {last:.3f}")

    def _tell_of_processes(self) -> None:
        count = self.setup.accelerator.num_processes
        if count > 1:
            how = "the weights are spread over them" if self.setup.sharded else "each holds a copy of the weights"
            self.setup.tell(f"{count} processes take part; {how}")
        elif self.setup.config.shard:
            self.setup.tell(
                "shard is on, but one process takes part, so nothing is spread; start several with `torchrun "
                "--nproc_per_node N -m vectalk.cli.main train ...`",
                logging.WARNING,
            )

    def _finish(self, progress: Progress, note: str = "") -> Run:
        setup = self.setup
        if setup.sharded and setup.main:  # the finished weights are put together in a model of its own,
            self.model = setup.factory.make("cpu")  # where there is room for the whole
            self.peft_model = None
            for number, stage in enumerate(setup.stages[: progress.stage], start=1):
                self._restore_best(number, stage)
        if setup.main:
            device = str(setup.accelerator.device)
            finish(Trained(self.folder, self.model, setup.prompts, self.how, self.peft_model, progress, device), note)
        setup.accelerator.wait_for_everyone()
        return Run.load(self.folder.path)

    def _rescue(self, error: DivergedError, progress: Progress) -> NoReturn:
        """Make a run of the best weights before training went astray, if they had learned anything, and say so."""
        where = f"training diverged in stage {progress.stage} at step {progress.step}: {error}"
        advice = "Lower the learning rates (stage1.lr_adapter, stage2.lr_llm), and train in another folder"
        if not progress.learned:
            raise TrainingError(f"{where}. Nothing had been learned before. {advice}") from None
        checkpoint.load_weights(self.model, self.folder.best(progress.stage))
        best = f"the best weights before that, of stage {progress.stage}, step {progress.best_step}"
        self._finish(progress, f"Stopped early: {where}. These are {best}.")
        raise TrainingError(f"{where}; {best}, are kept as the run {self.folder.path}. {advice}") from None

    def _restore_best(self, number: int, stage: StageConfig) -> None:
        """Put the model where a stage that is over left it."""
        if stage.steps:
            self._enter(stage)
            checkpoint.load_weights(self.model, self.folder.best(number))

    def _shard(self) -> None:
        """Spread the model over the processes; a low-rank update is made before, to be spread like the rest."""
        learning = [stage for stage in self.setup.stages if stage.steps and stage.llm != "frozen"]
        if learning:
            self._prepare(learning[0])
        shard(self.model, self.setup.half)
        # FSDP settles at the first pass in which type gradients are kept, of what is to be trained then.
        with torch.no_grad(), autocast(self.model.device, self.setup.half):
            self.model(self.validation_set.batch(np.arange(2)).to(self.model.device))

    def _prepare(self, stage: StageConfig) -> None:
        config = self.setup.config
        if stage.llm == "lora" and self.peft_model is None:
            torch.manual_seed(config.seed)  # a new update is the same in all processes
        self.peft_model = prepare(self.model, stage, config.lora, self.peft_model)

    def _enter(self, stage: StageConfig) -> None:
        self._prepare(stage)
        self.how = stage.llm if stage.llm != "frozen" else self.how


@contextmanager
def _flushed() -> Iterator[None]:
    """Let numbers too small for their type be zero, since a CPU is slow at them; moments of Adam come there."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def make_trainer(
    corpus: Corpus,
    llm: str,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    reporter: Reporter | None = None,
    **options: Any,
) -> Trainer:
    """Load and check everything, and return what trains.

    Args:
        corpus: opened corpus.
        llm: hub name or folder of the base LLM.
        out: folder of the run.
        config: settings.
        reporter: is told of the steps and of other long work.
        options: `revision`, `device`, `resume`, `start` and `chat_template` of `Setup.make`.

    Raises:
        TrainingError: the settings, the corpus or the folder do not allow training.
    """
    report = reporter or Silent()
    return Trainer(Setup.make(corpus, llm, out, config or TrainConfig(), progress=report.work, **options), report)


def train(corpus: Corpus, llm: str, out: str | Path, config: TrainConfig | None = None, **options: Any) -> Run:
    """Train and return the finished run; see `make_trainer` for the options."""
    return make_trainer(corpus, llm, out, config, **options).run()
