"""Setting of the C library's allocator for memory that a training step frees."""

import ctypes
import os

# numbers of mallopt's parameters, from glibc's malloc.h
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
LARGEST, PADDING = 2**31 - 1, 64 << 20  # bytes


def keep_freed_memory() -> bool:
    """Let the process keep freed memory for the next step; return whether the setting succeeded.

    Each step frees its tensors, and the next step needs the same memory again. By default glibc returns large tensors
    to the system, and the system clears every page before the process gets it again. On a CPU this costs a tenth to a
    quarter of a small LLM's step (see benchmarks/log.md). With the setting, the process keeps as much memory as its
    largest step needed. The function does nothing without glibc, or if environment variables already configure the
    allocator (`MALLOC_...`, `GLIBC_TUNABLES`).
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(TRIM_THRESHOLD, LARGEST), mallopt(TOP_PAD, PADDING), mallopt(MMAP_MAX, 0)])
