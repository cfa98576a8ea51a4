"""Matrix products in bfloat16: where they pay, and the context that computes them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

# LLM width from which bfloat16 saves more time on a CPU than the casts cost (see benchmarks/log.md).
HALF_FROM = 256


def half_pays(place: torch.device, hidden: int) -> bool:
    """Return whether bfloat16 products are faster than float32 products on a device, for an LLM of a hidden size."""
    if place.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu: Any = torch.cpu
    native = getattr(cpu, "_is_avx512_bf16_supported", bool)() or getattr(cpu, "_is_amx_tile_supported", bool)()
    return place.type == "cpu" and bool(native) and hidden >= HALF_FROM


def autocast(place: torch.device, half: bool) -> AbstractContextManager[Any]:
    """Return a context in which matrix products are computed in bfloat16, or a context without effect."""
    return torch.autocast(place.type, torch.bfloat16) if half else nullcontext()
