"""`Trained`: the result of training, before it is written as a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vectalk.model import ElmModel, PromptFormat
from vectalk.training.folder import RunFolder
from vectalk.training.stage import Progress


@dataclass(frozen=True)
class Trained:
    """A model with its best weights, and the facts that its run records.

    Attributes:
        folder: folder of the run, with corpus, settings and log.
        model: adapters and LLM.
        prompts: turns questions into prompts.
        how: which part of the LLM was trained: `frozen`, `lora` or `full`.
        peft_model: the LLM with its low-rank update; None without one.
        progress: progress at the end of training.
        device: device of training.
    """

    folder: RunFolder
    model: ElmModel
    prompts: PromptFormat
    how: str
    peft_model: Any
    progress: Progress
    device: str
