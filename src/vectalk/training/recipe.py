"""Recipes: the settings that suit an LLM, chosen by what the LLM is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM

from vectalk.llm.tokenizer import load_config, load_tokenizer

RecipeName = Literal["from scratch", "pretrained"]
PRETRAINED_FROM = 100_000_000  # parameters

# What each recipe changes in the defaults of `TrainConfig`, which suit a tiny LLM that was trained from scratch.
# How the pretrained recipe was chosen: benchmarks/log.md, 2026-11-29.
RECIPES: dict[RecipeName, dict[str, Any]] = {
    "from scratch": {},
    "pretrained": {
        "adapter": {"soft_tokens": 8, "start": "words"},
        "stage1": {"steps": 0},
        "stage2": {"steps": 1000, "llm": "lora", "lr_adapter": 1e-3, "lr_llm": 3e-4, "patience": 4},
        "lora": {"rank": 16, "alpha": 32},
        "batch_size": 16,
        "eval_examples": 256,
        "vector_noise": 0.1,
        "choose_decoding": True,
    },
}


@dataclass(frozen=True)
class Recipe:
    """A set of settings, and why it was chosen.

    Attributes:
        name: `pretrained` or `from scratch`.
        reason: what of the LLM decided it.
    """

    name: RecipeName
    reason: str

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that differ from the defaults, nested as in a config file."""
        return RECIPES[self.name]

    def __str__(self) -> str:
        """Return one line for people: the name, the reason and the settings."""
        changes = ", ".join(_lines(self.settings)) or "the defaults"
        return f"recipe '{self.name}', because {self.reason}: {changes}"


def choose_recipe(llm: str, revision: str | None = None) -> Recipe:
    """Choose the recipe for an LLM from its configuration and its tokenizer, without loading its weights.

    Args:
        llm: hub name or folder.
        revision: branch, tag or commit of a hub model.

    Raises:
        LanguageModelError: there is no such LLM.
    """
    if load_tokenizer(llm, revision=revision).chat_template:
        return Recipe("pretrained", "the LLM has a chat template")
    count = count_parameters(load_config(llm, revision=revision))
    size = f"the LLM has no chat template and {count / 1e6:,.1f} million parameters"
    return Recipe("pretrained" if count > PRETRAINED_FROM else "from scratch", size)


def count_parameters(config: Any) -> int:
    """Return how many parameters an LLM of a configuration has; no memory is taken for them.

    Args:
        config: a transformers configuration.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.tie_weights()
    return int(sum(parameter.numel() for parameter in model.parameters()))


def merged(defaults: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings with changes on top; neither argument is changed."""
    result = dict(defaults)
    for name, value in changes.items():
        inner = result.get(name)
        result[name] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def _lines(settings: dict[str, Any], before: str = "") -> list[str]:
    """Return settings as `name=value`, with dotted names."""
    lines: list[str] = []
    for name, value in settings.items():
        lines += _lines(value, f"{before}{name}.") if isinstance(value, dict) else [f"{before}{name}={value}"]
    return lines
