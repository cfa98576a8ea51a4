"""`without_lora`: use an LLM without its low-rank update."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def without_lora(llm: nn.Module) -> Iterator[None]:
    """Switch the low-rank update of an LLM off inside the block, and on again afterwards.

    Keys and values that were computed before the switch belong to the other LLM, so do not reuse them.

    Args:
        llm: the LLM; one without a low-rank update stays as it is.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in llm.modules() if isinstance(layer, BaseTunerLayer) and not layer.disable_adapters]
    # PEFT changes which weights learn whenever it switches a layer.
    learning = [(parameter, parameter.requires_grad) for layer in layers for parameter in layer.parameters()]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for parameter, learns in learning:
            parameter.requires_grad_(learns)
