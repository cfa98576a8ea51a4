"""Checkpoints: everything that a run needs to resume with an identical result; safetensors and JSON only."""

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
    """Return the trained parameters, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save_weights(model: nn.Module, path: Path | None) -> None:
    """Write the trained parameters. With sharded weights all processes must call this, and only one passes a path."""
    gathered = gather(trainable(model), path is not None)
    if path is not None:
        save_file(gathered, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load all trained parameters.

    Raises:
        TrainingError: the file cannot be read, or has other parameters than the model.
    """
    saved, parameters = _load(path), trainable(model)
    if saved.keys() != parameters.keys():
        names = ", ".join(sorted(saved.keys() ^ parameters.keys())[:3])
        raise TrainingError(
            f"checkpoint {path} has other parameters than the model ({names}, ...); resume with the settings of the "
            "run, or start again in another folder"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            if saved[name].shape != parameter.shape:
                raise TrainingError(
                    f"checkpoint {path}: {name} has shape {list(saved[name].shape)}, but the model needs "
                    f"{list(parameter.shape)}; resume with the settings of the run"
                )
            parameter.copy_(part_of(saved[name], parameter))


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # safetensors has errors of its own
        raise TrainingError(f"checkpoint {path} cannot be read: {error!r}; remove its folder and resume") from None


def save_checkpoint(
    folder: Path | None,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    keep: int,
) -> None:
    """Write checkpoint `step` atomically, and delete all but the last `keep` checkpoints.

    With sharded weights all processes must call this, and only one passes a folder.
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
    """Return the complete checkpoints of a run, oldest first."""
    complete = [p for p in folder.glob("step-*") if _NAME.match(p.name) and (p / "state.json").is_file()]
    return sorted(complete, key=lambda p: int(p.name.split("-")[1]))


def remove_unfinished(folder: Path) -> None:
    """Remove unfinished files of a killed process, and restore the checkpoint that the process was replacing."""
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
    """Load weights and optimiser state. There is no random state: seed and step determine all random choices."""
    load_weights(model, checkpoint / "model.safetensors")
    numbers = {name: i for i, name in enumerate(_order(model, optimizer))}
    state: dict[int, dict[str, torch.Tensor]] = {}
    parameters = trainable(model)
    for key, value in _load(checkpoint / "optimizer.safetensors").items():
        name, _, field = key.partition("::")
        state.setdefault(numbers[name], {})[field] = part_of(value, parameters[name])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _order(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Return the names of the parameters in the optimiser's order."""
    names = {id(p): name for name, p in trainable(model).items()}
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


def _states(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [optimizer.state.get(p, {}) for group in optimizer.param_groups for p in group["params"]]
