"""Validation losses of a stage, with right and with shuffled vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from vectalk.model import ElmModel
from vectalk.model.half import autocast
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.data import Examples
from vectalk.training.loop import out_of_memory_advice

WORSE = 1.05  # a task whose loss is above its lowest loss times this factor counts as overfitted


def overfitted_tasks(rows: Sequence[Mapping[str, Any]], step: int) -> list[str]:
    """Return a line for each task that a stage overfitted while the mean loss of all tasks still fell.

    Args:
        rows: the stage's evaluations, as training.jsonl has them.
        step: step of the saved weights.

    Returns:
        A line for each task whose validation loss at `step` is clearly above its lowest loss at an earlier step.
    """
    now: dict[str, float] = next((row["task_losses"] for row in rows if row["step"] == step), {})
    lines = []
    for task, loss in now.items():
        best = min((row for row in rows if row["step"] <= step), key=lambda row: row["task_losses"].get(task, loss))
        lowest = best["task_losses"].get(task, loss)
        if loss > WORSE * lowest:
            lines.append(f"{task} had {lowest:.3f} at step {best['step']} and has {loss:.3f} at step {step}")
    return lines


class Validation:
    """Measures validation losses; each process reads a part of the batches.

    Args:
        model: adapters and LLM.
        examples: validation examples.
        config: settings of the run.
        accelerator: the training processes.
        half: whether matrix products are computed in bfloat16.
        sharded: whether the model's weights are split among the processes.
    """

    def __init__(
        self,
        model: ElmModel,
        examples: Examples,
        config: TrainConfig,
        accelerator: Accelerator,
        half: bool,
        sharded: bool,
    ) -> None:
        self.model, self.examples, self.config, self.accelerator = model, examples, config, accelerator
        self.half, self.sharded = half, sharded

    def numbers(self, stage: StageConfig) -> np.ndarray:
        """Return the numbers of the validation examples of a stage's tasks, in the order of their use."""
        return np.random.default_rng(0).permutation(self.examples.of_tasks(stage.tasks))

    @torch.no_grad()
    def measure(
        self, stage: StageConfig, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> tuple[float, float, dict[str, float]]:
        """Return mean validation losses per token.

        Args:
            stage: settings of the stage.
            progress: called with the number of examples read and of all examples; each example counts twice.

        Returns:
            The loss with right vectors, the loss with vectors of other entities, and the loss with right vectors of
            each task.
        """
        self.model.eval()
        numbers = self.numbers(stage)[: self.config.eval_examples]
        done = 0

        def advance(read: int) -> None:
            nonlocal done
            done += read
            progress(min(done, 2 * len(numbers)), 2 * len(numbers))

        advance(0)
        tasks = self.examples.tokens.arrays["tasks"][numbers]
        right = {int(task): self._sums(numbers[tasks == task], None, advance) for task in np.unique(tasks)}
        total = sum(right.values(), torch.zeros(2, dtype=torch.float64))
        by_task = {self.examples.tokens.tasks[task]: float(sums[0] / sums[1]) for task, sums in right.items()}
        shuffled = self._sums(numbers, 1, advance)
        return float(total[0] / total[1]), float(shuffled[0] / shuffled[1]), by_task

    def _sums(self, numbers: np.ndarray, shuffle: int | None, advance: Callable[[int], None]) -> torch.Tensor:
        """Return [2] the summed loss of the tokens to learn in some examples, and the number of these tokens."""
        world, rank, cuts = (
            self.accelerator.num_processes,
            self.accelerator.process_index,
            self.config.grad_accumulation,
        )
        numbers = numbers[np.argsort(self.examples.lengths[numbers], kind="stable")]
        size = min(self.config.batch_size * 2, max(2, len(numbers)))
        batches = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        mine: list[np.ndarray | None] = [*batches[rank::world]]
        if self.sharded:  # every forward pass needs all processes, so all make the same number of passes
            mine += [None] * (-(-len(batches) // world) - len(mine))
        total = torch.zeros(2, dtype=torch.float64)
        for own in mine:
            for piece in range(cuts):
                rows = batches[0] if own is None else own
                batch = self.examples.batch(rows, part=(piece, cuts), shuffle=shuffle).to(self.model.device)
                with autocast(self.model.device, self.half), out_of_memory_advice(batch):
                    loss, tokens = self.model(batch)
                if own is not None:
                    total += torch.tensor([float(loss), float(tokens)], dtype=torch.float64)
            advance(0 if own is None else world * len(own))
        if world > 1:
            total = self.accelerator.reduce(total.to(self.model.device), "sum").cpu()
        return total
