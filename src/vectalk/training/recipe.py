"""Recipes: the settings that suit an LLM, chosen by what the LLM is and by what the run shall learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM

from vectalk.llm.tokenizer import load_config, load_tokenizer

RecipeName = Literal["from scratch", "pretrained", "distilled", "distilled with targets"]
Objective = Literal["targets", "distill", "both"]
PRETRAINED_FROM = 100_000_000  # parameters

# What each recipe changes in the defaults of `TrainConfig`, which suit a tiny LLM that was trained from scratch.
# How the pretrained recipe was chosen: benchmarks/log.md, 2026-11-29. It makes few steps, so a task of few examples
# would hardly be learned if all examples came equally often (balance).
# The recipes of distillation keep the adapter and the low-rank update of the pretrained recipe. A step also runs the
# LLM that reads the facts, so its batch is half as large.
_READING: dict[str, Any] = {"adapter": {"soft_tokens": 8, "start": "words"}, "lora": {"rank": 16, "alpha": 32}}
_DISTILLED: dict[str, Any] = {
    **_READING,
    "stage1": {
        "steps": 1000,
        "llm": "lora",
        "objective": "distill",
        "lr_adapter": 1e-3,
        "lr_llm": 5e-4,
        "patience": 4,
    },
    "stage2": {"steps": 0},
    "batch_size": 8,
    "eval_every": 100,
    "eval_examples": 128,
    "vector_noise": 0.1,
}
RECIPES: dict[RecipeName, dict[str, Any]] = {
    "from scratch": {},
    "pretrained": {
        **_READING,
        "stage1": {"steps": 0},
        "stage2": {"steps": 1000, "llm": "lora", "lr_adapter": 1e-3, "lr_llm": 3e-4, "patience": 4, "balance": 1.0},
        "batch_size": 16,
        "eval_examples": 256,
        "vector_noise": 0.1,
        "choose_decoding": True,
    },
    "distilled": _DISTILLED,
    "distilled with targets": {
        **_DISTILLED,
        "stage1": {**_DISTILLED["stage1"], "mix": 0.5, "balance": 1.0},
        "choose_decoding": True,
    },
}
# Recipes of the objectives that do not depend on the LLM.
BY_OBJECTIVE: dict[Objective, RecipeName] = {"distill": "distilled", "both": "distilled with targets"}


@dataclass(frozen=True)
class Recipe:
    """A set of settings, and why it was chosen.

    Attributes:
        name: a key of `RECIPES`.
        reason: what decided it: the LLM, or the objective.
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


def choose_recipe(llm: str, revision: str | None = None, objective: Objective = "targets") -> Recipe:
    """Choose the recipe for an LLM from its configuration and its tokenizer, without loading its weights.

    Args:
        llm: hub name or folder.
        revision: branch, tag or commit of a hub model.
        objective: what the run learns: the target texts of the corpus; what the LLM, told facts in words, answers to
            free questions (`distill`); or both.

    Raises:
        LanguageModelError: there is no such LLM.
    """
    if objective in BY_OBJECTIVE:
        return Recipe(BY_OBJECTIVE[objective], f"the objective is {objective}")
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
