"""Going on from a finished run: its LLM and adapters are what another run starts with."""

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
    """Return the folder or hub name of the LLM that a run left.

    Raises:
        TrainingError: the run left a low-rank update, which is no LLM.
    """
    if run.card.llm.trained == "lora":
        raise TrainingError(
            f"run {run.path} holds a low-rank update of {run.card.llm.name}, and training starts from a whole LLM: "
            "merge it into the LLM first (PEFT's `merge_and_unload`), or start from a run that trained it whole or not "
            "at all"
        )
    if run.card.llm.trained == "full":
        return str(run.path / "llm")
    return run.base()[0]


def commit_of(run: Run | None, llm: str) -> str | None:
    """Return the commit of a hub LLM that a run stands on and left as it was; None for any other LLM."""
    if run is None or run.card.llm.trained != "frozen" or run.card.llm.name != llm:
        return None
    return run.card.llm.revision


def load_adapters(model: ElmModel, run: Run) -> list[str]:
    """Give a model the adapters of a run, with their normalisers; returns the spaces that the run does not know.

    Raises:
        TrainingError: an adapter of the run has another shape than the settings ask for.
        RunError: the run left the base LLM as it was, and the model has another one.
    """
    if run.card.llm.trained == "frozen":
        run.check_llm(model.language)
    fresh = [name for name in model.adapters if name not in run.card.spaces]
    for adapter in dict.fromkeys(model.adapter(name) for name in model.adapters if name not in fresh):
        known = next(name for name in adapter.config.spaces if name in run.card.spaces)
        owner = run.card.spaces[known].adapter or known
        with hushed():
            saved = open_adapter(run.path / "adapters" / owner)
        for field in SHAPE:
            before, now = getattr(saved.config, field), getattr(adapter.config, field)
            if before != now:
                raise TrainingError(
                    f"run {run.path} has an adapter of {owner!r} whose {field} is {before}, the settings say {now}; "
                    "give the run's own (see its config.yaml)"
                )
        with torch.no_grad():
            adapter.load_state_dict(saved.state_dict())
    return fresh


def identity_of(run: Run | None) -> str | None:
    """Return what tells a run that is started from, for resuming: the hash of its card and its adapters."""
    if run is None:
        return None
    return sha256_of([run.path / "elm.json", *sorted((run.path / "adapters").glob("*/*.safetensors"))])
