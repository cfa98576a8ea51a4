"""The processes that take part in training, and the device of this one."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from vectalk.llm.loading import pick_device

# The first process tokenises a large corpus, or writes a large LLM, while the others wait; ten minutes would be usual.
PATIENCE = timedelta(hours=6)


def make_accelerator(device: str) -> tuple[Accelerator, torch.device]:
    """Return the processes that take part, and where this one's model lives.

    What a saved configuration of accelerate says of mixed precision is left out: products in half precision are the
    loop's own matter.

    Args:
        device: `auto`, `cpu`, `cuda`, ...; where there are several processes each has a device of its own.
    """
    rank = os.environ.get("LOCAL_RANK")
    if rank is not None and torch.cuda.is_available():  # else all would look at the first GPU, and hold some of it
        torch.cuda.set_device(int(rank) % torch.cuda.device_count())
    place = pick_device(device)
    accelerator = Accelerator(
        cpu=place.type == "cpu",
        mixed_precision="no",
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=PATIENCE),
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),  # else gradients are held twice
        ],
    )
    return accelerator, accelerator.device if accelerator.num_processes > 1 else place
