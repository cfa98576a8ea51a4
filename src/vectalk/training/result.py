"""`Trained`: what training hands over to be written as a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vectalk.model import ElmModel, PromptFormat
from vectalk.training.folder import RunFolder
from vectalk.training.stage import Progress


@dataclass(frozen=True)
class Trained:
    """A model with its best weights, and what is to be told of it.

    Attributes:
        folder: of the run, with its corpus, its settings and its log.
        model: adapters and LLM.
        prompts: makes prompts of questions.
        how: what of the LLM was trained: `frozen`, `lora` or `full`.
        peft_model: the LLM with its low-rank update, where there is one.
        progress: where training stands.
        device: where it was trained.
    """

    folder: RunFolder
    model: ElmModel
    prompts: PromptFormat
    how: str
    peft_model: Any
    progress: Progress
    device: str
