"""`Gate`: how many requests are answered at once, how many wait, and when no more are taken."""

from __future__ import annotations

import asyncio
import math
import time

from vectalk.serving.errors import ApiError


class Gate:
    """Admits requests to the decode loop.

    Args:
        rows: most requests at once.
        waiting: most requests that wait.

    Attributes:
        active: requests that are being answered.
        waiting: requests that wait for a free row.
        draining: whether the server takes no more requests.
    """

    def __init__(self, rows: int, waiting: int) -> None:
        self.rows, self.most_waiting = rows, waiting
        self.active = self.waiting = 0
        self.draining = False
        self._seconds = 1.0  # moving average of the time that an answer takes
        self._free = asyncio.Semaphore(rows)

    def check(self) -> None:
        """Raise an ApiError where a new request cannot be taken: the server stops, or too many requests wait."""
        if self.draining:
            raise ApiError(503, "the server is stopping", code="draining", headers={"Retry-After": "5"})
        if self._free.locked() and self.waiting >= self.most_waiting:
            seconds = max(1, math.ceil(self._seconds * (self.waiting + 1) / self.rows))
            raise ApiError(
                429,
                f"{self.waiting} requests already wait for one of {self.rows} rows; try again in {seconds} s",
                code="too_many_requests",
                headers={"Retry-After": str(seconds)},
            )

    async def enter(self) -> Place:
        """Wait for a free row, and take it; the caller releases the place."""
        self.check()
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.active += 1
        return Place(self)

    def leave(self, seconds: float) -> None:
        """Free a row that was held for so many seconds."""
        self.active -= 1
        self._seconds += 0.1 * (seconds - self._seconds)
        self._free.release()


class Place:
    """A row that one request holds.

    Args:
        gate: the gate that gave it.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate: Gate | None = gate
        self._start = time.monotonic()

    def release(self) -> None:
        """Free the row; does nothing the second time."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.leave(time.monotonic() - self._start)
