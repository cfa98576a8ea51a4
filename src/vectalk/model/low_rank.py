"""The low-rank update of an LLM (PEFT), turned off for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def without_update(model: nn.Module) -> Iterator[None]:
    """Turn the low-rank update of an LLM off, where it has one, so that the LLM is what it was before training."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    before = [layer.disable_adapters for layer in layers]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer, disabled in zip(layers, before, strict=True):
            layer.enable_adapters(not disabled)
        for parameter in trained:  # PEFT freezes an update that it turns off
            parameter.requires_grad_(True)
