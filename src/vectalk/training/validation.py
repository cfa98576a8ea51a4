"""The validation loss of a stage, with right and with shuffled vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from vectalk.model import ElmModel
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.data import Examples
from vectalk.training.loop import autocast, told_of_memory

WORSE = 1.05  # times its lowest loss, above which a task counts as learned by heart


def by_heart(rows: Sequence[Mapping[str, Any]], kept: int) -> list[str]:
    """Say of which tasks a stage learned the training examples by heart, while its loss on all still fell.

    Args:
        rows: the stage's evaluations, as training.jsonl has them.
        kept: step of the weights that are kept.

    Returns:
        A line for each task whose validation loss is clearly above what it was at an earlier step.
    """
    now: dict[str, float] = next((row["task_losses"] for row in rows if row["step"] == kept), {})
    lines = []
    for task, loss in now.items():
        best = min((row for row in rows if row["step"] <= kept), key=lambda row: row["task_losses"].get(task, loss))
        lowest = best["task_losses"].get(task, loss)
        if loss > WORSE * lowest:
            lines.append(f"{task} had {lowest:.3f} at step {best['step']} and has {loss:.3f} at step {kept}")
    return lines


class Validation:
    """Measures validation losses, each process a part of the batches.

    Args:
        model: adapters and LLM.
        examples: validation examples.
        config: settings of the run.
        accelerator: the processes that take part.
        half: whether products are made in bfloat16.
        sharded: whether the model's weights are spread over the processes.
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
        """Return the validation examples of a stage's tasks, in the order in which they are taken."""
        return np.random.default_rng(0).permutation(self.examples.of_tasks(stage.tasks))

    @torch.no_grad()
    def measure(
        self, stage: StageConfig, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> tuple[float, float, dict[str, float]]:
        """Return the mean loss a token with right vectors, that with those of other entities, and the first by task.

        Args:
            stage: the stage.
            progress: called with examples read and examples in all, each being read twice.
        """
        self.model.eval()
        numbers = self.numbers(stage)[: self.config.eval_examples]
        done = 0

        def tell(read: int) -> None:
            nonlocal done
            done += read
            progress(min(done, 2 * len(numbers)), 2 * len(numbers))

        tell(0)
        tasks = self.examples.tokens.arrays["tasks"][numbers]
        right = {int(task): self._sums(numbers[tasks == task], None, tell) for task in np.unique(tasks)}
        total = sum(right.values(), torch.zeros(2, dtype=torch.float64))
        by_task = {self.examples.tokens.tasks[task]: float(sums[0] / sums[1]) for task, sums in right.items()}
        shuffled = self._sums(numbers, 1, tell)
        return float(total[0] / total[1]), float(shuffled[0] / shuffled[1]), by_task

    def _sums(self, numbers: np.ndarray, shuffle: int | None, tell: Callable[[int], None]) -> torch.Tensor:
        """Return the sum of the losses of some examples' tokens, and how many tokens these are."""
        world, rank, cuts = (
            self.accelerator.num_processes,
            self.accelerator.process_index,
            self.config.grad_accumulation,
        )
        numbers = numbers[np.argsort(self.examples.lengths[numbers], kind="stable")]
        size = min(self.config.batch_size * 2, max(2, len(numbers)))
        batches = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        mine: list[np.ndarray | None] = [*batches[rank::world]]
        if self.sharded:  # no process can read the LLM unless all do, so all read as often
            mine += [None] * (-(-len(batches) // world) - len(mine))
        total = torch.zeros(2, dtype=torch.float64)
        for chosen in mine:
            for piece in range(cuts):
                given = batches[0] if chosen is None else chosen
                batch = self.examples.batch(given, part=(piece, cuts), shuffle=shuffle).to(self.model.device)
                with autocast(self.model.device, self.half), told_of_memory(batch):
                    loss, tokens = self.model(batch)
                if chosen is not None:
                    total += torch.tensor([float(loss), float(tokens)], dtype=torch.float64)
            tell(0 if chosen is None else world * len(chosen))
        if world > 1:
            total = self.accelerator.reduce(total.to(self.model.device), "sum").cpu()
        return total
