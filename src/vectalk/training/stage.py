"""One stage of training: trained parameters, learning rate, and progress."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vectalk.errors import TrainingError
from vectalk.llm.quiet import hushed
from vectalk.model.elm_model import ElmModel
from vectalk.reading.cards import checked
from vectalk.training.config import LoraConfig, StageConfig
from vectalk.training.lora import add_lora


@dataclass
class Progress:
    """Progress of a run; stored in every checkpoint.

    Attributes:
        stage: 1 or 2.
        step: optimiser steps done in this stage.
        total: optimiser steps done in all stages.
        first: validation loss at the start of this stage.
        best: lowest validation loss of this stage.
        best_step: step of the saved best weights.
        learned: whether saved best weights exist from any step after step 0.
        waited: number of evaluations since the lowest loss.
        gain: vector gain at the last evaluation.
        seconds: time in optimiser steps, in seconds.
    """

    stage: int = 1
    step: int = 0
    total: int = 0
    first: float | None = None
    best: float = math.inf
    best_step: int = 0
    learned: bool = False
    waited: int = 0
    gain: float = 0.0
    seconds: float = 0.0

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON values; JSON has no infinity, so an infinite `best` is None."""
        return {**asdict(self), "best": None if math.isinf(self.best) else self.best}

    def next_stage(self, number: int) -> Progress:
        """Return the progress at the start of the next stage."""
        return Progress(stage=number, total=self.total, learned=self.learned, seconds=self.seconds)

    @classmethod
    def read(cls, state: dict[str, Any]) -> Progress:
        """Create a progress from the result of `state`.

        Raises:
            TrainingError: `state` has missing or wrong fields.
        """
        best = math.inf if state.get("best") is None else state["best"]
        progress: Progress = checked({**state, "best": best}, cls, "the state of a checkpoint", TrainingError)
        return progress


def learning_rate(stage: StageConfig, step: int) -> float:
    """Return the learning rate at a step as a share of the peak: linear warmup, then cosine decay or constant."""
    rise = max(1, round(stage.warmup * stage.steps))
    if step < rise:
        return (step + 1) / rise
    if stage.schedule == "constant":
        return 1.0
    done = (step - rise) / max(1, stage.steps - rise)
    return stage.floor + (1.0 - stage.floor) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


def prepare(model: ElmModel, stage: StageConfig, lora: LoraConfig, peft_model: Any = None) -> Any:
    """Freeze all parameters that a stage does not train.

    Args:
        model: adapters and LLM.
        stage: settings of the stage.
        lora: shape of a low-rank update.
        peft_model: PEFT model of an earlier stage, whose training continues; None without one.

    Returns:
        The PEFT model of this or an earlier low-rank stage, or None.
    """
    if stage.llm == "lora" and peft_model is not None:
        for name, parameter in model.llm.named_parameters():
            parameter.requires_grad_("lora_" in name)
    elif stage.llm == "lora":
        with hushed():
            peft_model = add_lora(model.llm, lora, model.language.name)
    else:
        model.llm.requires_grad_(stage.llm == "full")
    model.adapters.requires_grad_(True)
    model.adapters.float()
    return peft_model


def make_optimizer(model: ElmModel, stage: StageConfig, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW with one learning rate for the adapters and one for the LLM; weight decay is on matrices only."""
    groups = []
    for module, peak in ((model.adapters, stage.lr_adapter), (model.llm, stage.lr_llm)):
        trained = [p for p in module.parameters() if p.requires_grad]
        for decay, parameters in (
            (weight_decay, [p for p in trained if p.ndim > 1]),
            (0.0, [p for p in trained if p.ndim < 2]),
        ):
            if parameters:
                groups.append({"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=model.device.type in ("cpu", "cuda"))
