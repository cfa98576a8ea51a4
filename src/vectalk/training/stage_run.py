"""`StageRun`: runs one stage of training, from its first step to its best weights."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vectalk.training import checkpoint, words
from vectalk.training.config import StageConfig
from vectalk.training.loop import DivergedError, Loop
from vectalk.training.material import Material
from vectalk.training.reporter import Reporter, interruptible
from vectalk.training.setup import Setup
from vectalk.training.stage import Progress, learning_rate
from vectalk.training.validation import overfitted_tasks

LOG_EVERY = 10
EXPLODED = 3.0  # factor on the loss of random guessing, or on the stage's first loss if larger, for divergence
NO_GAIN = 0.01  # at or below this vector gain at the end of stage 1, the LLM does not seem to use the vectors


class StageRun:
    """Trains one stage.

    Args:
        setup: everything that training needs; the model must be prepared for the stage.
        stage: settings of the stage.
        progress: progress of the run; updated with every step.
        reporter: receives the progress.
    """

    def __init__(self, setup: Setup, stage: StageConfig, progress: Progress, reporter: Reporter) -> None:
        self.setup, self.stage, self.progress, self.reporter = setup, stage, progress, reporter
        self.folder, self.model, self.config = setup.folder, setup.model, setup.config
        self.guessing = math.log(self.model.llm.config.get_text_config().vocab_size)
        self.model.token_weights = self._token_weights()
        self.material = Material.of(setup, stage, reporter.work)
        self.loop = Loop(
            self.model,
            self.material.mixture,
            stage,
            progress.stage,
            self.config,
            setup.accelerator,
            setup.half,
            setup.sharded,
        )
        self.value, self.loss_text = float("nan"), "..."  # the last loss that was read from the device

    def run(self, resumed: Path | None) -> None:
        """Train the stage; at the end the model has the best or the last weights (`StageConfig.keep`).

        Args:
            resumed: the checkpoint to resume from; None at the start of the stage.

        Raises:
            DivergedError: training diverged.
            KeyboardInterrupt: the user pressed Ctrl-C; a checkpoint was saved.
        """
        stage, progress = self.stage, self.progress
        if resumed is not None:
            checkpoint.load_checkpoint(resumed, self.model, self.loop.optimizer)
        else:
            self.evaluate()
        batches, late = self.loop.batches(progress.step), False
        with interruptible() as interrupted:
            while progress.step < stage.steps and progress.waited < stage.patience and not late:
                started = time.perf_counter()
                tokens, pieces = next(batches)
                loss = self.loop.step(tokens, pieces, learning_rate(stage, progress.step), progress.step)
                progress.step, progress.total = progress.step + 1, progress.total + 1
                late = self._is_late() and progress.step < stage.steps
                last = late or progress.step == stage.steps
                logs = last or progress.step % LOG_EVERY == 0
                evaluates = last or progress.step % self.config.eval_every == 0
                saves = progress.step % self.config.save_every == 0
                self._read_loss(loss, logs or evaluates or saves)
                progress.seconds += time.perf_counter() - started
                if logs and self.setup.main:
                    rate = self.loop.optimizer.param_groups[0]["lr"]
                    self.setup.log(progress, loss=self.value, tokens=tokens, lr=rate)
                if evaluates:
                    self.evaluate()
                note = f"loss {self.loss_text}  best {progress.best:.3f}  gain {progress.gain:.3f}"
                self.reporter.step(progress.stage, progress.step, stage.steps, note)
                # Checked last, so that a Ctrl-C during a long evaluation or the last step is not lost.
                alone = self.setup.accelerator.num_processes == 1
                stops = self._any_interrupted(interrupted()) if alone or logs else False
                if saves or stops:
                    self._save()
                if stops:
                    self.setup.tell(f"stopped at stage {progress.stage}, step {progress.step}; resume with --resume")
                    raise KeyboardInterrupt
        if late:
            self.setup.tell(
                f"stage {progress.stage} stops at step {progress.step} of {stage.steps}: the steps take longer than "
                "those measured before, and its share of the time is over",
                logging.WARNING,
            )
        checkpoint.load_weights(self.model, self.folder.best(progress.stage))
        self._warn()

    def evaluate(self) -> None:
        """Measure the validation loss with right and with shuffled vectors, and save the weights to keep."""
        progress, setup = self.progress, self.setup
        right, shuffled, by_task = self.material.validation.measure(
            self.material.stage, self._reporting("validation loss")
        )
        progress.gain = shuffled - right
        first = progress.first = right if progress.first is None else progress.first
        if not right <= EXPLODED * max(first, self.guessing):
            raise DivergedError(f"the validation loss became {right:.4g}; at the start of the stage it was {first:.4g}")
        better = right < progress.best
        progress.best, progress.waited = (right, 0) if better else (progress.best, progress.waited + 1)
        keeps = better or self.stage.keep == "last"
        if keeps:
            progress.best_step, progress.learned = progress.step, progress.learned or progress.step > 0
        scores = {}
        if setup.consistency is not None:
            numbers = setup.validation.numbers(self.stage)
            scores = setup.consistency.measure(numbers, self._reporting("validation answers"))
        if setup.main:
            losses = {"validation_loss": right, "shuffled_loss": shuffled, "vector_gain": progress.gain}
            if self.stage.objective == "distill":  # the losses are divergences from the told LLM
                losses["kl_kept"] = 1 - right / max(shuffled, 1e-9)
            self.setup.log(progress, **losses, **scores, task_losses=by_task)
        if keeps:
            best = self.folder.best(progress.stage)
            temporary = best.with_name("." + best.name)
            checkpoint.save_weights(self.model, temporary if setup.main else None)
            if setup.main:
                temporary.replace(best)
        setup.accelerator.wait_for_everyone()

    def _is_late(self) -> bool:
        """Return whether the time of the stage is over (`TrainConfig.minutes`)."""
        limits = self.folder.seconds
        return limits is not None and self.progress.seconds > limits[self.progress.stage - 1]

    def _token_weights(self) -> Tensor | None:
        if not self.stage.rare_tokens:
            return None
        learned = self.setup.train_set.of_tasks(self.stage.tasks)
        return words.token_weights(self.setup.train_set, learned, self.stage.rare_tokens, self.model)

    def _read_loss(self, loss: Tensor, needed: bool) -> None:
        """Read the loss from the device, on a GPU only every few steps, because reading waits for the GPU's queue."""
        interval = 1 if self.model.device.type == "cpu" else LOG_EVERY
        if needed or self.progress.step % interval == 0:
            self.value = self.loop.value(loss)
            self.loss_text = f"{self.value:.3f}"

    def _save(self) -> None:
        if self.setup.main or self.setup.sharded:
            checkpoint.save_checkpoint(
                self.folder.checkpoints if self.setup.main else None,
                self.progress.total,
                self.model,
                self.loop.optimizer,
                self.progress.state(),
                self.config.keep,
            )

    def _reporting(self, what: str) -> Callable[[int, int], None]:
        return partial(self.reporter.work, what)

    def _any_interrupted(self, interrupted: bool) -> bool:
        """Return whether any process was interrupted."""
        if self.setup.accelerator.num_processes == 1:
            return interrupted
        flag = torch.tensor(float(interrupted), device=self.model.device)
        return bool(self.setup.accelerator.reduce(flag, "sum") > 0)

    def _warn(self) -> None:
        """Warn of a stage without vector gain, and of overfitted tasks."""
        stage, progress = self.progress.stage, self.progress
        if stage == 1 and progress.gain <= NO_GAIN:
            self.setup.tell(
                f"the vector gain is {progress.gain:.4f} at the end of stage 1: the LLM does not use the "
                "vectors yet. More steps, a higher stage1.lr_adapter, more soft tokens or shorter tasks may help.",
                logging.WARNING,
            )
        lines = overfitted_tasks(self.folder.evaluations(stage), progress.best_step) if self.setup.main else []
        if lines:
            self.setup.tell(
                f"stage {stage} overfitted some tasks while the mean validation loss of all tasks still fell; "
                f"validation losses: {'; '.join(lines[:5])}. Noise on vectors (vector_noise), "
                "adapter.dropout or fewer steps may help.",
                logging.WARNING,
            )
