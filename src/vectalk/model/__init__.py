"""Adapters, prompts, and the model that places vectors between the words of a prompt."""

from vectalk.model.adapter import ElmAdapter, ElmAdapterConfig, check_adapter
from vectalk.model.batch import Batch, collate
from vectalk.model.elm_model import ElmModel
from vectalk.model.prompt import Prompt, PromptFormat

__all__ = [
    "Batch",
    "ElmAdapter",
    "ElmAdapterConfig",
    "ElmModel",
    "Prompt",
    "PromptFormat",
    "check_adapter",
    "collate",
]
