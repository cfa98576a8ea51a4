"""The training processes, and the device of the current process."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from vectalk.llm.loading import pick_device

# The other processes wait while the first one tokenises a large corpus or writes a large LLM. The library's default
# of ten minutes may be too short.
LONGEST_WAIT = timedelta(hours=6)


def make_accelerator(device: str) -> tuple[Accelerator, torch.device]:
    """Return the accelerator of all training processes, and the device of the current process.

    Mixed precision in a saved configuration of accelerate is ignored, because `loop` decides the dtype of products.

    Args:
        device: `auto`, `cpu`, `cuda`, ...; each of several processes has its own device.
    """
    rank = os.environ.get("LOCAL_RANK")
    if rank is not None and torch.cuda.is_available():  # otherwise every process would use memory of GPU 0
        torch.cuda.set_device(int(rank) % torch.cuda.device_count())
    place = pick_device(device)
    accelerator = Accelerator(
        cpu=place.type == "cpu",
        mixed_precision="no",
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),  # otherwise gradients are in memory twice
        ],
    )
    return accelerator, accelerator.device if accelerator.num_processes > 1 else place
