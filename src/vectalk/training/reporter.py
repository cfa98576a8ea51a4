"""Who is told what happens in training, and how it is interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Reporter(Protocol):
    """Is told what happens."""

    def message(self, text: str) -> None:
        """Something worth a line."""
        ...

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """A step was made."""
        ...


class Silent:
    """A reporter that says nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """Show nothing."""


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let the step in progress end after Ctrl-C; a second Ctrl-C stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handler)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
