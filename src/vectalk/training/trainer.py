"""`Trainer`: runs both stages, one after the other, and can resume with an identical result (paper, section 3.1)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from vectalk.decoding.defaults import write_defaults
from vectalk.errors import TrainingError
from vectalk.model.half import autocast
from vectalk.model.run import Run
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.training import checkpoint
from vectalk.training.allocator import keep_freed_memory
from vectalk.training.budget import measure, stored
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.decoding_choice import best_of, try_candidates
from vectalk.training.distillation.distillation import phrase_examples
from vectalk.training.finish import finish
from vectalk.training.loop import DivergedError
from vectalk.training.recipe import choose_recipe
from vectalk.training.reporter import Reporter, Silent
from vectalk.training.result import Trained
from vectalk.training.setup import Setup
from vectalk.training.sharding import shard
from vectalk.training.stage import Progress, prepare
from vectalk.training.stage_run import StageRun
from vectalk.training.word_start import start_as_words


class Trainer:
    """Trains the adapters, and then adapters and LLM together, on a corpus; create one with `make_trainer`.

    Args:
        setup: everything that training needs.
        reporter: receives the progress.
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
        with _denormals_flushed():
            return self._run()

    def _run(self) -> Run:
        setup, progress = self.setup, Progress()
        saved = checkpoint.list_checkpoints(self.folder.checkpoints)
        if saved:
            progress = Progress.read(checkpoint.read_state(saved[-1]))
            setup.tell(f"resuming from stage {progress.stage}, step {progress.step}")
        else:
            prompt, _ = self.train_set.prompt(0)
            setup.tell(f"one example, with the tokens to learn between »«:\n{setup.prompts.show(prompt)}")
        if setup.config.adapter.start == "words" and (not saved or self._anchored):
            self._start_as_words()
        self._report_processes()
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

    @property
    def _anchored(self) -> bool:
        """Whether a stage pulls the soft tokens towards their start."""
        distils = any(stage.steps and stage.objective == "distill" for stage in self.setup.stages)
        return distils and self.setup.config.distill.anchor > 0

    def _start_as_words(self) -> None:
        """Solve fresh adapters in closed form, from the facts in words where distillation comes first."""
        report, config = partial(self.report.work, "starting the adapters as words"), self.setup.config
        first = next(stage for stage in self.setup.stages if stage.steps)
        distils = first.objective == "distill"
        texts = phrase_examples(self.folder.corpus, self.setup.prompts) if distils else self.train_set
        explained = start_as_words(self.model, texts, self.setup.factory.fresh, report)
        if self._anchored:
            self.model.anchors = {name: deepcopy(self.model.adapter(name)) for name in self.setup.factory.fresh}
            self.model.anchor_weight = config.distill.anchor
        for spaces, share in explained.items():
            self.setup.tell(
                f"start of adapter {spaces}: the soft tokens explain {share:.1%} of the words of held-out entities"
            )

    def _report_processes(self) -> None:
        count = self.setup.accelerator.num_processes
        if count > 1:
            how = "the weights are split among them" if self.setup.sharded else "each has a copy of the weights"
            self.setup.tell(f"training with {count} processes; {how}")
        elif self.setup.config.shard:
            self.setup.tell(
                "shard is on, but there is only one process, so the weights are not split; start several processes "
                "with `torchrun --nproc_per_node N -m vectalk.cli.main train ...`",
                logging.WARNING,
            )

    def _finish(self, progress: Progress, note: str = "") -> Run:
        setup = self.setup
        if setup.sharded and setup.main:  # a new model on the CPU has room for the complete weights
            self.model = setup.factory.make("cpu")
            self.peft_model = None
            for number, stage in enumerate(setup.stages[: progress.stage], start=1):
                self._restore_best(number, stage)
        if setup.main:
            if setup.config.choose_decoding:
                self._choose_decoding()
            device = str(setup.accelerator.device)
            finish(Trained(self.folder, self.model, setup.prompts, self.how, self.peft_model, progress, device), note)
        if setup.config.report_to:
            setup.accelerator.end_training()
        setup.accelerator.wait_for_everyone()
        return Run.load(self.folder.path)

    def _choose_decoding(self) -> None:
        """Store the default decoding settings of the run, chosen on validation examples of the last stage."""
        last = [stage for stage in self.setup.stages if stage.steps][-1]
        numbers, tell = self.setup.validation.numbers(last), partial(self.report.work, "choosing decoding settings")
        trials = try_candidates(self.model, self.validation_set, numbers, progress=tell)
        best = best_of(trials)
        write_defaults(self.folder.path, best.settings, [trial.plain() for trial in trials])
        self.setup.tell(f"default decoding settings of the run: {best.plain()}")

    def _rescue(self, error: DivergedError, progress: Progress) -> NoReturn:
        """Write a run with the best weights before divergence, if any are from a later step than 0; always raise."""
        where = f"training diverged in stage {progress.stage} at step {progress.step}: {error}"
        advice = "Lower the learning rates (stage1.lr_adapter, stage2.lr_llm), and train again in another folder"
        if not progress.learned:
            raise TrainingError(f"{where}. There are no better weights from before. {advice}") from None
        checkpoint.load_weights(self.model, self.folder.best(progress.stage))
        best = f"the best weights before divergence, of stage {progress.stage}, step {progress.best_step}"
        self._finish(progress, f"Stopped early: {where}. These are {best}.")
        raise TrainingError(f"{where}; {best}, were saved as the run {self.folder.path}. {advice}") from None

    def _restore_best(self, number: int, stage: StageConfig) -> None:
        """Load the weights that a finished stage saved."""
        if stage.steps:
            self._enter(stage)
            checkpoint.load_weights(self.model, self.folder.best(number))

    def _shard(self) -> None:
        """Split the model among the processes; a low-rank update is created first, so that it is split too."""
        learning = [stage for stage in self.setup.stages if stage.steps and stage.llm != "frozen"]
        if learning:
            self._prepare(learning[0])
        shard(self.model, self.setup.half)
        # The first forward pass of FSDP fixes the gradients' dtype, for the parameters that are trainable at that time.
        with torch.no_grad(), autocast(self.model.device, self.setup.half):
            self.model(self.validation_set.batch(np.arange(2)).to(self.model.device))

    def _prepare(self, stage: StageConfig) -> None:
        config = self.setup.config
        if stage.llm == "lora" and self.peft_model is None:
            torch.manual_seed(config.seed)  # all processes create the same update
        self.peft_model = prepare(self.model, stage, config.lora, self.peft_model)

    def _enter(self, stage: StageConfig) -> None:
        self._prepare(stage)
        self.how = stage.llm if stage.llm != "frozen" else self.how


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Flush denormal numbers to zero, because a CPU is slow with them; Adam's moments can become that small."""
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
    """Load and check everything, and return a trainer.

    Args:
        corpus: opened corpus.
        llm: hub name or folder of the base LLM.
        out: folder of the run.
        config: settings; those of the LLM's recipe when omitted (see `choose_recipe`).
        reporter: receives the progress of training and of other long work; None: no reports.
        options: `revision`, `device`, `resume`, `start`, `trust_encoder` and `chat_template` of `Setup.make`.

    Raises:
        TrainingError: the settings, the corpus or the folder do not allow training.
    """
    report, started = reporter or Silent(), time.monotonic()
    settings = config or TrainConfig.load(None, recipe=choose_recipe(llm, options.get("revision")))
    make = partial(Setup.make, corpus, llm, out, settings, progress=report.work, **options)
    budget = None
    if settings.minutes is not None:
        budget = stored(Path(out)) if options.get("resume") else None
        budget = budget or measure(make(claim=False), report, started)
    setup = make()  # with a new model, because the measured steps changed the other one
    if budget is not None:
        budget.limit(setup.folder)
        setup.tell(f"{settings.minutes:g} minutes: training makes at most {budget}")
    return Trainer(setup, report)


def train(corpus: Corpus, llm: str, out: str | Path, config: TrainConfig | None = None, **options: Any) -> Run:
    """Train and return the finished run; see `make_trainer` for the options."""
    return make_trainer(corpus, llm, out, config, **options).run()
