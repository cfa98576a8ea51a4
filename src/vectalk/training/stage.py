"""One stage of training: what is trained, at which rate, until when."""

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
    """Where a run stands; written with every checkpoint.

    Attributes:
        stage: 1 or 2.
        step: optimiser steps done in this stage.
        total: optimiser steps done in all stages.
        first: validation loss at the start of this stage.
        best: lowest validation loss of this stage.
        best_step: step of the weights that are kept.
        learned: whether any weights that were kept come after a step.
        waited: evaluations since the lowest loss.
        gain: vector gain at the last evaluation.
        seconds: time spent training.
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
        """Return the fields for JSON, which has no infinity."""
        return {**asdict(self), "best": None if math.isinf(self.best) else self.best}

    def next_stage(self, number: int) -> Progress:
        """Return where a run stands when a stage begins after this one."""
        return Progress(stage=number, total=self.total, learned=self.learned, seconds=self.seconds)

    @classmethod
    def read(cls, state: dict[str, Any]) -> Progress:
        """Read what `state` gave.

        Raises:
            TrainingError: it is something else.
        """
        best = math.inf if state.get("best") is None else state["best"]
        progress: Progress = checked({**state, "best": best}, cls, "the state of a checkpoint", TrainingError)
        return progress


def learning_rate(stage: StageConfig, step: int) -> float:
    """Return the share of the peak rate at a step: linear rise, then cosine to the floor, or constant."""
    rise = max(1, round(stage.warmup * stage.steps))
    if step < rise:
        return (step + 1) / rise
    if stage.schedule == "constant":
        return 1.0
    done = (step - rise) / max(1, stage.steps - rise)
    return stage.floor + (1.0 - stage.floor) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


def prepare(model: ElmModel, stage: StageConfig, lora: LoraConfig, peft_model: Any = None) -> Any:
    """Freeze what a stage does not train; returns the PEFT model of a low-rank stage, this one's or an earlier one's.

    Args:
        model: adapters and LLM.
        stage: what is trained.
        lora: shape of a low-rank update.
        peft_model: the one that an earlier stage made, which is trained on.
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
    """Return AdamW with a rate for the adapters and one for the LLM; only matrices decay."""
    groups = []
    for module, peak in ((model.adapters, stage.lr_adapter), (model.llm, stage.lr_llm)):
        trained = [p for p in module.parameters() if p.requires_grad]
        for decay, chosen in (
            (weight_decay, [p for p in trained if p.ndim > 1]),
            (0.0, [p for p in trained if p.ndim < 2]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": peak, "peak": peak, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=model.device.type in ("cpu", "cuda"))
