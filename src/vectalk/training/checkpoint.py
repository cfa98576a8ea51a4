"""Checkpoints: everything that a run needs to go on as if nothing had happened; safetensors and JSON only."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vectalk.errors import TrainingError
from vectalk.files import atomic_folder, put_back, read_json, write_json
from vectalk.reading.cards import checked
from vectalk.training.sharding import gather, part_of

_NAME = re.compile(r"^step-(\d+)$")


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are trained, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save_weights(model: nn.Module, path: Path | None) -> None:
    """Write the trained parameters. Where they are spread over processes all have to take part, one with a path."""
    gathered = gather(trainable(model), path is not None)
    if path is not None:
        save_file(gathered, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read the trained parameters back, all of them."""
    saved, wanted = _load(path), trainable(model)
    if saved.keys() != wanted.keys():
        odd = sorted(saved.keys() ^ wanted.keys())[:3]
        raise TrainingError(f"checkpoint {path} holds other parameters than the model ({', '.join(odd)}, ...)")
    with torch.no_grad():
        for name, parameter in wanted.items():
            if saved[name].shape != parameter.shape:
                raise TrainingError(
                    f"checkpoint {path}: {name} is of shape {list(saved[name].shape)}, the model has "
                    f"{list(parameter.shape)}"
                )
            parameter.copy_(part_of(saved[name], parameter))


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # safetensors has errors of its own
        raise TrainingError(f"checkpoint {path} cannot be read: {error!r}; remove its folder, and resume") from None


def save_checkpoint(
    folder: Path | None,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    keep: int,
) -> None:
    """Write checkpoint `step` whole or not at all, and leave only the last `keep`.

    Where weights are spread over processes all have to take part, one with a folder.
    """
    moments: dict[str, torch.Tensor] = {}
    for name, entries in zip(_order(model, optimizer), _states(optimizer), strict=True):
        for key, value in entries.items():
            tensor = value if isinstance(value, torch.Tensor) else torch.tensor(float(value))
            moments[f"{name}::{key}"] = tensor
    moments = gather(moments, folder is not None)
    if folder is None:
        return save_weights(model, None)
    with atomic_folder(folder / f"step-{step:07d}", "state.json", overwrite=True) as part:
        save_weights(model, part / "model.safetensors")
        save_file(moments, part / "optimizer.safetensors")
        write_json(part / "state.json", state)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints of a run, oldest first."""
    found = [p for p in folder.glob("step-*") if _NAME.match(p.name) and (p / "state.json").is_file()]
    return sorted(found, key=lambda p: int(p.name.split("-")[1]))


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed while writing left behind."""
    for waiting in folder.glob(".step-*.old"):
        put_back(folder / waiting.name[1 : -len(".old")])
    for kind in ("tmp", "old", "removed"):
        for part in folder.glob(f".step-*.{kind}"):
            shutil.rmtree(part, ignore_errors=True)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the state that was written with a checkpoint."""
    state = read_json(checkpoint / "state.json", TrainingError)
    checked(state, dict[str, bool | int | float | None], checkpoint / "state.json", TrainingError)
    return state


def load_checkpoint(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put weights and optimiser back as they were. There is no random state: seed and step decide all."""
    load_weights(model, checkpoint / "model.safetensors")
    numbers = {name: i for i, name in enumerate(_order(model, optimizer))}
    state: dict[int, dict[str, torch.Tensor]] = {}
    parameters = trainable(model)
    for key, value in _load(checkpoint / "optimizer.safetensors").items():
        name, _, field = key.partition("::")
        state.setdefault(numbers[name], {})[field] = part_of(value, parameters[name])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _order(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of the parameters in the order in which the optimiser numbers them."""
    names = {id(p): name for name, p in trainable(model).items()}
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


def _states(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [optimizer.state.get(p, {}) for group in optimizer.param_groups for p in group["params"]]
