"""`rehearse`: what a training would take, from a few measured steps; nothing is written."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from vectalk.training.config import StageConfig
from vectalk.training.distillation.distillation import Distillation
from vectalk.training.loop import Loop
from vectalk.training.mixture import Mixture
from vectalk.training.reporter import Reporter, Silent
from vectalk.training.setup import Setup
from vectalk.training.stage import prepare

STEPS = 4  # of each stage, of which the first warms up


@dataclass(frozen=True)
class StageEstimate:
    """What one stage would take.

    Attributes:
        stage: 1 or 2.
        llm: what of the LLM it trains: `frozen`, `lora` or `full`.
        steps: most optimiser steps.
        adapter_parameters: parameters of the adapters, all of them trained.
        llm_parameters: parameters of the LLM, or of its low-rank update, that are trained.
        tokens_per_step: mean tokens of a step, padding left out.
        seconds_per_step: median of the measured steps.
        evaluation_seconds: time of one validation, estimated from a forward pass.
        teacher_seconds: time in which the LLM writes the answers of a distillation.
    """

    stage: int
    llm: str
    steps: int
    adapter_parameters: int
    llm_parameters: int
    tokens_per_step: float
    seconds_per_step: float
    evaluation_seconds: float
    teacher_seconds: float = 0.0

    @property
    def minutes(self) -> float:
        """The time of all steps and evaluations, in minutes."""
        evaluations = self.evaluations * self.evaluation_seconds
        return (self.steps * self.seconds_per_step + evaluations + self.teacher_seconds) / 60

    @property
    def evaluations(self) -> int:
        """How many evaluations the stage makes at most."""
        return self._evaluations

    _evaluations: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a training would take on this device.

    Attributes:
        device: where the steps were measured.
        base_parameters: parameters of the LLM.
        examples: training examples.
        tokens: their tokens, prompts included.
        memory_gb: most memory that the measured steps took, in GB: of the GPU, else of this process.
        stages: the stages that have steps.
    """

    device: str
    base_parameters: int
    examples: int
    tokens: int
    memory_gb: float
    stages: list[StageEstimate]

    @property
    def minutes(self) -> float:
        """The time of all stages, in minutes."""
        return sum(stage.minutes for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        stages = [{**asdict(stage), "minutes": stage.minutes} for stage in self.stages]
        for stage in stages:
            stage.pop("_evaluations")
        return {**asdict(self), "stages": stages, "minutes": self.minutes}

    def __str__(self) -> str:
        """Return the figures as lines for people."""
        lines = [
            f"LLM of {self.base_parameters / 1e6:,.1f} million parameters on {self.device}",
            f"{self.examples:,} training examples of {self.tokens:,} tokens, prompts included",
        ]
        for stage in self.stages:
            lines.append(
                f"stage {stage.stage} (LLM: {stage.llm}): trains {stage.adapter_parameters / 1e6:,.2f} million "
                f"parameters of adapters and {stage.llm_parameters / 1e6:,.2f} million of the LLM; {stage.steps:,} "
                f"steps of {stage.tokens_per_step:,.0f} tokens, {stage.seconds_per_step:.2f} s each: "
                f"{stage.minutes:,.1f} minutes at most"
            )
        lines.append(f"memory {self.memory_gb:.1f} GB, time {self.minutes:,.1f} minutes at most")
        return "\n".join(lines)


def rehearse(setup: Setup, reporter: Reporter | None = None) -> Estimate:
    """Measure a few steps of each stage and estimate what the whole training takes.

    Args:
        setup: what training would start from; its model is changed, so train with another one.
        reporter: is told of the steps.

    Returns:
        The estimate. Stages stop early where the validation loss no longer falls, so its times are upper bounds.
    """
    report, model, config = reporter or Silent(), setup.model, setup.config
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    base = sum(parameter.numel() for parameter in model.llm.parameters())
    stages, peft_model = [], None
    for number, stage in enumerate(setup.stages, start=1):
        if not stage.steps:
            continue
        peft_model = prepare(model, stage, config.lora, peft_model)
        mixture, teaching = measured_mixture(setup, stage)
        loop = Loop(model, mixture, stage, number, config, setup.accelerator, setup.half, setup.sharded)
        batches, times, tokens = loop.batches(0), [], []
        for step in range(STEPS):
            supervised, pieces = next(batches)
            started = time.perf_counter()
            loop.value(loop.step(supervised, pieces, 0.0, step))
            times.append(time.perf_counter() - started)
            tokens.append(sum(int(piece.attention_mask.sum()) for piece in pieces))
            report.step(number, step + 1, STEPS, "measuring")
        validation = min(config.eval_examples, len(setup.validation_set))
        lengths = setup.validation_set.lengths[setup.validation.numbers(stage)[:validation]]
        # A forward pass takes about a third of a step; each example is read with right and with shuffled vectors.
        forward = median(times[1:]) / 3 / max(float(np.mean(tokens[1:])), 1.0)
        stages.append(
            StageEstimate(
                stage=number,
                llm=stage.llm,
                steps=stage.steps,
                adapter_parameters=_trained(model.adapters),
                llm_parameters=_trained(model.llm),
                tokens_per_step=float(np.mean(tokens)),
                seconds_per_step=median(times[1:]),
                teacher_seconds=teaching,
                evaluation_seconds=2 * float(lengths.sum()) * forward,
                _evaluations=1 + -(-stage.steps // config.eval_every),
            )
        )
    return Estimate(
        device=str(model.device),
        base_parameters=base,
        examples=len(setup.train_set),
        tokens=int(setup.train_set.lengths.sum()),
        memory_gb=_memory(model.device),
        stages=stages,
    )


def measured_mixture(setup: Setup, stage: StageConfig) -> tuple[Mixture, float]:
    """Return examples for the measured steps, and the time in seconds in which a teacher writes all its answers.

    Args:
        setup: what training would start from.
        stage: one of its stages; its tasks are measured.
    """
    if stage.objective == "targets":
        return Mixture.of(stage, setup.train_set), 0.0
    config, count = setup.config, STEPS * setup.config.batch_size
    few = config.model_copy(update={"distill": config.distill.model_copy(update={"answers": count, "validation": 2})})
    started = time.perf_counter()
    with TemporaryDirectory() as place:
        pairs = Distillation.make(
            setup.folder.corpus, setup.model, setup.prompts, few, lambda what, done, total: None, Path(place)
        )
    seconds = (time.perf_counter() - started) / (count + 2)
    return Mixture.of(stage, setup.train_set, pairs.train_set), seconds * (
        config.distill.answers + config.distill.validation
    )


def _trained(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _memory(device: torch.device) -> float:
    """Return the most memory taken so far, in GB: of the GPU, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # of `ru_maxrss`, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
