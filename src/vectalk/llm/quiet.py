"""`hushed`: transformers reads and writes files without progress bars."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def hushed() -> Iterator[None]:
    """Hide the progress bars of transformers, and two warnings that no user can act on, inside a `with` block."""
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "Could not find a config file", UserWarning)  # next to a GGUF file
            yield
    finally:
        if enabled:
            logging.enable_progress_bar()
