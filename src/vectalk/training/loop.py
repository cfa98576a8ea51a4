"""One stage's optimiser steps: the same whatever the number of processes and of pieces that a batch is cut into."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from vectalk.errors import TrainingError
from vectalk.model import ElmModel
from vectalk.model.batch import Batch
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.data import Examples
from vectalk.training.order import length_grouped
from vectalk.training.stage import make_optimizer

# On a CPU, casting costs what half as wide products save, until these are large enough (see benchmarks/log.md).
HALF_FROM = 256


def half_pays(place: torch.device, hidden: int) -> bool:
    """Return whether bfloat16 products are quicker than float32 ones on a device, at a width of the LLM."""
    if place.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu: Any = torch.cpu
    native = getattr(cpu, "_is_avx512_bf16_supported", bool)() or getattr(cpu, "_is_amx_tile_supported", bool)()
    return place.type == "cpu" and bool(native) and hidden >= HALF_FROM


class DivergedError(TrainingError):
    """Training went astray: its loss is no number, or far above that of guessing."""


class Loop:
    """Makes the steps of one stage.

    Args:
        model: adapters and LLM, prepared for the stage.
        examples: what is trained on.
        stage: the stage's settings.
        number: of the stage.
        config: settings of the run.
        accelerator: the processes that take part.
        half: whether products are made in bfloat16.
        sharded: whether the model's weights are spread over the processes (see `sharding`).
    """

    def __init__(
        self,
        model: ElmModel,
        examples: Examples,
        stage: StageConfig,
        number: int,
        config: TrainConfig,
        accelerator: Accelerator,
        half: bool,
        sharded: bool = False,
    ) -> None:
        self.model, self.examples, self.config, self.accelerator, self.half = model, examples, config, accelerator, half
        self.seed = [config.seed, number]
        self.chosen = None if stage.tasks is None else examples.of_tasks(stage.tasks)  # all, without naming each
        self.weights = None if model.token_weights is None else model.token_weights.cpu().numpy()
        self.optimizer = make_optimizer(model, stage, config.weight_decay)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.world, self.rank = accelerator.num_processes, accelerator.process_index
        self.wrapped: Any = model
        self.copied = self.world > 1 and not sharded
        if self.copied:
            self.wrapped = accelerator.prepare_model(model, device_placement=False)

    def batches(self, start: int) -> Iterator[tuple[float, list[Batch]]]:
        """Yield for each step, from `start` on, the tokens to learn in all processes, and this process's pieces."""
        lengths = self.examples.lengths
        order = length_grouped(
            lengths if self.chosen is None else lengths[self.chosen],
            self.config.batch_size,
            self.seed,
            start,
            tokens=self.config.batch_tokens,
        )
        if self.model.device.type == "cpu":  # the step itself takes all cores; a batch is made in a millisecond
            for step, numbers in enumerate(order, start):
                yield self._pieces(numbers, step)
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._pieces, next(order), start)
            for step, numbers in enumerate(order, start + 1):
                ready, coming = coming, ahead.submit(self._pieces, numbers, step)
                yield ready.result()

    def _pieces(self, numbers: np.ndarray, step: int) -> tuple[float, list[Batch]]:
        cuts, made = self.config.grad_accumulation, []
        numbers = numbers if self.chosen is None else self.chosen[numbers]
        for i in range(cuts):
            part = (self.rank + i * self.world, cuts * self.world)
            noise = [*self.seed, step]
            batch = self.examples.batch(numbers, part=part, noise_seed=noise)
            made.append(batch.to(self.model.device))
        return self.examples.supervised(numbers, self.weights), made

    def step(self, tokens: float, pieces: list[Batch], rate: float, step: int) -> Tensor:
        """Make one optimiser step; returns this process's share of the mean loss a token."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        self.wrapped.train()
        # Dropout depends on the step alone, so there is no state of it to save.
        torch.manual_seed(int(np.random.SeedSequence([*self.seed, step, self.rank]).generate_state(1)[0]))
        total = torch.zeros((), device=self.model.device)
        for i, batch in enumerate(pieces):
            # Copies share gradients once a step; spread weights do for each piece, since whole ones would need room.
            waits = self.copied and i < len(pieces) - 1
            alone: AbstractContextManager[Any] = self.accelerator.no_sync(self.wrapped) if waits else nullcontext()
            with alone, told_of_memory(batch):
                with autocast(self.model.device, self.half):
                    loss, _ = self.wrapped(batch)
                # Gradients are averaged over processes; this makes them those of the mean over all tokens.
                (loss * (self.world / tokens)).backward()
                total += loss.detach() / tokens
        torch.nn.utils.clip_grad_norm_(self.trained, self.config.clip)
        with told_of_memory():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def value(self, loss: Tensor) -> float:
        """Return the loss over all processes as a number, which waits for the device.

        Raises:
            DivergedError: it is no number.
        """
        value = float(self.accelerator.reduce(loss, "sum") if self.world > 1 else loss)
        if not math.isfinite(value):
            raise DivergedError(f"the loss became {value}")
        return value


def autocast(place: torch.device, half: bool) -> AbstractContextManager[Any]:
    """Return the context in which products are made in bfloat16, or one that does nothing."""
    return torch.autocast(place.type, torch.bfloat16) if half else nullcontext()


@contextmanager
def told_of_memory(batch: Batch | None = None) -> Iterator[None]:
    """Say what to lower where memory does not suffice for a batch, or without one for the optimiser."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        known = ("out of memory", "can't allocate memory", "not enough memory")
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not any(k in str(error) for k in known):
            raise
        if batch is None:
            raise TrainingError(
                "out of memory for what the optimiser keeps of every trained weight; train a low-rank update (--lora), "
                "take a smaller LLM, or spread the weights over several processes (shard=true)"
            ) from error
        rows, length = batch.input_ids.shape
        raise TrainingError(
            f"out of memory in a batch of {rows} rows of {length} tokens; raise grad_accumulation (the same result in "
            "smaller pieces), set gradient_checkpointing=true, limit batch_tokens, lower batch_size, or train a "
            "low-rank update (--lora)"
        ) from error
