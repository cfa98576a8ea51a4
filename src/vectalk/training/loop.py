"""Optimiser steps of one stage; the result does not depend on the number of processes or of pieces of a batch."""

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
from vectalk.model.half import autocast
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.data import Examples
from vectalk.training.mixture import Mixture
from vectalk.training.stage import make_optimizer


class DivergedError(TrainingError):
    """Training diverged: the loss is NaN or infinite, or far above the loss of random guessing."""


class Loop:
    """Makes the optimiser steps of one stage.

    Args:
        model: adapters and LLM, prepared for the stage.
        mixture: training examples.
        stage: settings of the stage.
        number: number of the stage, 1 or 2.
        config: settings of the run.
        accelerator: the training processes.
        half: whether matrix products are computed in bfloat16.
        sharded: whether the model's weights are split among the processes (see `sharding`).
    """

    def __init__(
        self,
        model: ElmModel,
        mixture: Mixture,
        stage: StageConfig,
        number: int,
        config: TrainConfig,
        accelerator: Accelerator,
        half: bool,
        sharded: bool = False,
    ) -> None:
        self.model, self.mixture, self.config, self.accelerator, self.half = model, mixture, config, accelerator, half
        self.seed = [config.seed, number]
        self.weights = None if model.token_weights is None else model.token_weights.cpu().numpy()
        self.optimizer = make_optimizer(model, stage, config.weight_decay)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.world, self.rank = accelerator.num_processes, accelerator.process_index
        self.wrapped: Any = model
        self.copied = self.world > 1 and not sharded
        if self.copied:
            self.wrapped = accelerator.prepare_model(model, device_placement=False)

    def batches(self, start: int) -> Iterator[tuple[float, list[Batch]]]:
        """Yield for each step from `start` on the number of tokens to learn in all processes, and this one's pieces."""
        order = self.mixture.order(self.config.batch_size, self.seed, start, self.config.batch_tokens)
        if self.model.device.type == "cpu":  # the step uses all cores, and building a batch takes a millisecond
            for step, (examples, numbers) in enumerate(order, start):
                yield self._pieces(examples, numbers, step)
        with ThreadPoolExecutor(1) as executor:
            upcoming = executor.submit(self._pieces, *next(order), start)
            for step, (examples, numbers) in enumerate(order, start + 1):
                ready, upcoming = upcoming, executor.submit(self._pieces, examples, numbers, step)
                yield ready.result()

    def _pieces(self, examples: Examples, numbers: np.ndarray, step: int) -> tuple[float, list[Batch]]:
        cuts, pieces = self.config.grad_accumulation, []
        for i in range(cuts):
            part = (self.rank + i * self.world, cuts * self.world)
            noise = [*self.seed, step]
            batch = examples.batch(numbers, part=part, noise_seed=noise)
            pieces.append(batch.to(self.model.device))
        return examples.supervised(numbers, self.weights if examples.weighted else None), pieces

    def step(self, tokens: float, pieces: list[Batch], rate: float, step: int) -> Tensor:
        """Make one optimiser step.

        Args:
            tokens: number of tokens to learn in all processes, or the sum of their weights.
            pieces: the batches of this process.
            rate: share of the peak learning rate.
            step: number of the step, which seeds dropout.

        Returns:
            This process's part of the mean loss per token.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        self.wrapped.train()
        # Dropout depends only on seed, step and process, so a checkpoint needs no random state.
        torch.manual_seed(int(np.random.SeedSequence([*self.seed, step, self.rank]).generate_state(1)[0]))
        total = torch.zeros((), device=self.model.device)
        for i, batch in enumerate(pieces):
            # Copies of the model exchange gradients once per step. Sharded weights exchange them after each piece,
            # because complete gradients would need too much memory.
            accumulates = self.copied and i < len(pieces) - 1
            no_sync = self.accelerator.no_sync
            synchronisation: AbstractContextManager[Any] = no_sync(self.wrapped) if accumulates else nullcontext()
            with synchronisation, out_of_memory_advice(batch):
                with autocast(self.model.device, self.half):
                    loss, _ = self.wrapped(batch)
                # Gradients are averaged over processes; this factor gives the gradient of the mean over all tokens.
                (loss * (self.world / tokens)).backward()
                total += loss.detach() / tokens
        torch.nn.utils.clip_grad_norm_(self.trained, self.config.clip)
        with out_of_memory_advice():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def value(self, loss: Tensor) -> float:
        """Return the loss summed over all processes as a number; this synchronises with the device.

        Raises:
            DivergedError: the loss is NaN or infinite.
        """
        value = float(self.accelerator.reduce(loss, "sum") if self.world > 1 else loss)
        if not math.isfinite(value):
            raise DivergedError(f"the loss became {value}")
        return value


@contextmanager
def out_of_memory_advice(batch: Batch | None = None) -> Iterator[None]:
    """Turn an out-of-memory error into a TrainingError with advice: about `batch`, or else about the optimiser."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        known = ("out of memory", "can't allocate memory", "not enough memory")
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not any(k in str(error) for k in known):
            raise
        if batch is None:
            raise TrainingError(
                "out of memory for the optimiser's moments of the trained weights; train a low-rank update (--lora), "
                "take a smaller LLM, or split the weights among several processes (shard=true)"
            ) from error
        rows, length = batch.input_ids.shape
        raise TrainingError(
            f"out of memory in a batch of {rows} rows of {length} tokens; raise grad_accumulation (smaller pieces, "
            "the same result), set gradient_checkpointing=true, limit batch_tokens, lower batch_size, or train a "
            "low-rank update (--lora)"
        ) from error
