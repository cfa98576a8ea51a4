"""Who is told how far training is, and how it is interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Reporter(Protocol):
    """Is told how far training is."""

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """A step was made."""
        ...

    def work(self, what: str, done: int, total: int) -> None:
        """Other work, which may take long, has come so far."""
        ...


class Silent:
    """A reporter that shows nothing."""

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """Show nothing."""

    def work(self, what: str, done: int, total: int) -> None:
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
