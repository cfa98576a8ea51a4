"""Training that starts from the LLM and the adapters of a finished run."""

from __future__ import annotations

import torch

from vectalk.errors import TrainingError
from vectalk.files import sha256_of
from vectalk.llm.quiet import hushed
from vectalk.model.adapter import open_adapter
from vectalk.model.elm_model import ElmModel
from vectalk.model.run import Run

SHAPE = ("spaces", "vector_dim", "llm_hidden_size", "soft_tokens", "kind", "width")


def llm_of(run: Run) -> str:
    """Return the folder or hub name of a run's trained LLM, or of its base LLM if the LLM was frozen.

    Raises:
        TrainingError: the run has a low-rank update, which is not a complete LLM.
    """
    if run.card.llm.trained == "lora":
        raise TrainingError(
            f"run {run.path} has a low-rank update of {run.card.llm.name}, but training must start from a complete "
            "LLM; merge the update into the LLM first (PEFT's `merge_and_unload`), or start from a run with a "
            "frozen or fully fine-tuned LLM"
        )
    if run.card.llm.trained == "full":
        return str(run.path / "llm")
    return run.base()[0]


def commit_of(run: Run | None, llm: str) -> str | None:
    """Return the commit of a hub LLM that a run used and did not train; None for any other LLM."""
    if run is None or run.card.llm.trained != "frozen" or run.card.llm.name != llm:
        return None
    return run.card.llm.revision


def load_adapters(model: ElmModel, run: Run) -> list[str]:
    """Load the adapters of a run and their normalisers into a model; return the spaces that the run does not have.

    Raises:
        TrainingError: the shape of an adapter differs from the settings.
        RunError: the run did not train its base LLM, and the model has another base LLM.
    """
    if run.card.llm.trained == "frozen":
        run.check_llm(model.language)
    fresh = [name for name in model.adapters if name not in run.card.spaces]
    for adapter in dict.fromkeys(model.adapter(name) for name in model.adapters if name not in fresh):
        first = next(name for name in adapter.config.spaces if name in run.card.spaces)
        owner = run.card.spaces[first].adapter or first
        with hushed():
            saved = open_adapter(run.path / "adapters" / owner)
        for field in SHAPE:
            before, now = getattr(saved.config, field), getattr(adapter.config, field)
            if before != now:
                raise TrainingError(
                    f"run {run.path} has an adapter of {owner!r} whose {field} is {before}, but the settings say "
                    f"{now}; use the run's value (see its config.yaml)"
                )
        with torch.no_grad():
            adapter.load_state_dict(saved.state_dict())
    return fresh


def identity_of(run: Run | None) -> str | None:
    """Return the hash of a run's card and adapters, which identifies the run that training starts from."""
    if run is None:
        return None
    return sha256_of([run.path / "elm.json", *sorted((run.path / "adapters").glob("*/*.safetensors"))])
