"""Progress reports of training, and its interruption by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Reporter(Protocol):
    """Receives the progress of training."""

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """Report that a training step is done.

        Args:
            stage: number of the stage.
            done: steps done in the stage.
            steps: all steps of the stage.
            note: losses, as text.
        """
        ...

    def work(self, what: str, done: int, total: int) -> None:
        """Report the progress of other work.

        Args:
            what: name of the work.
            done: units of work done.
            total: all units of work.
        """
        ...


class Silent:
    """A reporter without output."""

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """Show nothing."""

    def work(self, what: str, done: int, total: int) -> None:
        """Show nothing."""


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let the current step finish after Ctrl-C; a second Ctrl-C stops at once.

    Yields:
        A function that returns whether Ctrl-C was pressed.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handler)
    try:
        yield interrupted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
