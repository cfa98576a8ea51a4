"""Experiment trackers (TensorBoard, Weights & Biases, MLflow) beside `training.jsonl`, through Accelerate."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from vectalk.errors import TrainingError

# Tracker -> the module that it needs, and how to install it.
TRACKERS = {
    "tensorboard": ("tensorboard", "tensorboard"),
    "wandb": ("wandb", "wandb"),
    "mlflow": ("mlflow", "mlflow"),
}


def check_trackers(names: Sequence[str]) -> None:
    """Raise a TrainingError where a tracker is unknown or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise TrainingError(f"report_to: there is no tracker {name!r}; allowed are {', '.join(TRACKERS)}")
        module, package = TRACKERS[name]
        if importlib.util.find_spec(module) is None:
            raise TrainingError(f"report_to: the tracker {name!r} needs a package: pip install {package}")


def start_trackers(accelerator: Accelerator, names: Sequence[str], folder: Path, settings: dict[str, Any]) -> None:
    """Open the trackers for a run.

    Args:
        accelerator: the processes that take part; the main one writes.
        names: trackers, of `TRACKERS`.
        folder: of the run, where TensorBoard's files go too.
        settings: of the run, which the trackers show.
    """
    if not names:
        return
    from accelerate.tracking import filter_trackers

    accelerator.project_configuration.set_directories(str(folder))
    accelerator.log_with = filter_trackers(list(names), str(folder))
    accelerator.init_trackers("vectalk", config=_flat(settings), init_kwargs={"wandb": {"name": folder.name}})


def figures_of(row: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a line of `training.jsonl` under names that trackers group: `validation/loss/summary`."""
    figures = {}
    for name, value in row.items():
        if isinstance(value, dict):
            figures.update({f"{name}/{inner}": float(number) for inner, number in value.items()})
        elif isinstance(value, int | float) and name not in ("stage", "step", "total"):
            figures[name] = float(value)
    return figures


def _flat(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names, with values that every tracker takes."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{before}{name}."))
        else:
            flat[before + name] = value if isinstance(value, int | float | str | bool) else str(value)
    return flat
