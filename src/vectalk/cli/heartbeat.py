"""`Heartbeat`: a line now and then while a command works and shows nothing of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Line = Callable[[], str | None]
"""Says in a line how far something is; None where there is nothing to say."""


class Heartbeat:
    """Says that work goes on, from a thread of its own, when nothing was said for a while.

    Args:
        say: prints a line.
        every: seconds of silence before it.
    """

    def __init__(self, say: Callable[[str], None], every: float = 15.0) -> None:
        self.say, self.every = say, every
        self.name = ""
        self._lines: list[Line | None] = []
        self._over: threading.Event | None = None
        self._began = self._spoken = 0.0

    def begin(self, name: str) -> None:
        """Begin to watch a command; what was watched before is over."""
        self.end()
        self.name, self._over = name, threading.Event()
        self._began = self._spoken = time.monotonic()
        threading.Thread(target=self._beat, args=(self._over,), name="heartbeat", daemon=True).start()

    def end(self) -> None:
        """Be silent from now on."""
        if self._over is not None:
            self._over.set()
            self._over = None

    def spoke(self) -> None:
        """Note that something was said."""
        self._spoken = time.monotonic()

    @contextmanager
    def showing(self, line: Line | None) -> Iterator[None]:
        """Say `line` while something is done; nothing at all where None, since it shows itself."""
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
