"""What the C library does with the memory that a training step frees."""

import ctypes
import os

# mallopt's names for its settings, of glibc's malloc.h
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
MOST, AHEAD = 2**31 - 1, 64 << 20


def keep_freed_memory() -> bool:
    """Let freed memory stay with the process for the next step; returns whether that could be settled.

    A step's tensors are freed, and wanted again at the next. glibc gives large ones back to the system, which clears
    every page before it hands it out anew: on a CPU a tenth to a quarter of a small LLM's step (see
    benchmarks/log.md). From then on the process holds what its largest step took. Nothing happens without glibc, or
    where the environment settles it (`MALLOC_...`, `GLIBC_TUNABLES`).
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    try:
        settle = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all([settle(TRIM_THRESHOLD, MOST), settle(TOP_PAD, AHEAD), settle(MMAP_MAX, 0)])
