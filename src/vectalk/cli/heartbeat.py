"""`Heartbeat`: prints a line from time to time while a command works without output."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Line = Callable[[], str | None]
"""Returns the progress of some work as a line, or None if there is nothing to report."""


class Heartbeat:
    """Prints, from its own thread, that a command is still working, if nothing was printed for some time.

    Args:
        say: prints a line.
        every: seconds without output before a line is printed.
    """

    def __init__(self, say: Callable[[str], None], every: float = 15.0) -> None:
        self.say, self.every = say, every
        self.name = ""
        self._lines: list[Line | None] = []
        self._over: threading.Event | None = None
        self._began = self._spoken = 0.0

    def begin(self, name: str) -> None:
        """Start to watch a command, and stop watching the previous one."""
        self.end()
        self.name, self._over = name, threading.Event()
        self._began = self._spoken = time.monotonic()
        threading.Thread(target=self._beat, args=(self._over,), name="heartbeat", daemon=True).start()

    def end(self) -> None:
        """Stop watching; print nothing from now on."""
        if self._over is not None:
            self._over.set()
            self._over = None

    def spoke(self) -> None:
        """Record that something was printed just now."""
        self._spoken = time.monotonic()

    @contextmanager
    def showing(self, line: Line | None) -> Iterator[None]:
        """Print what `line` returns while the block runs; if `line` is None, print nothing, because a bar is shown."""
        self._lines.append(line)
        alone = self._over is None and line is not None
        if alone:
            self.begin(self.name)
        try:
            yield
        finally:
            self._lines.pop()
            if alone:
                self.end()

    def _beat(self, over: threading.Event) -> None:
        while not over.wait(max(0.0, self._spoken + self.every - time.monotonic())):
            if time.monotonic() - self._spoken < self.every:
                continue
            line = self._lines[-1] if self._lines else self._general
            self._spoken = time.monotonic()
            if line is not None:
                self.say(line() or self._general())

    def _general(self) -> str:
        return f"{self.name or 'working'}: {time.monotonic() - self._began:.0f} s"
