"""Compiling an LLM's layers, one by one: all are alike, so what is made for the first serves the others."""

import torch
from torch import nn

from vectalk.errors import TrainingError


def compile_layers(llm: nn.Module) -> int:
    """Let `torch.compile` make code for the repeated layers of an LLM, in place; returns how many there are.

    Names of parameters stay. The code is made when a layer is first used, for any length of text.

    Raises:
        TrainingError: the LLM repeats no layer, or there is no compiler on this machine.
    """
    lists = [m for m in llm.modules() if isinstance(m, nn.ModuleList) and len(m) > 1 and len({type(x) for x in m}) == 1]
    # Experts within a layer are a list too: only the outermost one is of layers.
    inner = {id(m) for outer in lists for m in outer.modules() if m is not outer}
    layers = [layer for found in lists if id(found) not in inner for layer in found]
    if not layers:
        raise TrainingError(f"compile: {type(llm).__name__} has no repeated layers; turn it off")
    try:
        torch.compile(torch.neg)(torch.zeros(2, device=next(llm.parameters()).device))
    except Exception as error:  # of the many kinds that compilers raise
        reason = str(error).strip().splitlines()
        raise TrainingError(
            f"compile: this machine cannot compile ({reason[0] if reason else type(error).__name__}); install a C++ "
            "compiler, or turn it off"
        ) from error
    for layer in layers:
        layer.compile(dynamic=True)
    return len(layers)
