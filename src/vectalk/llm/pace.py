"""`Pace`: the rate of requests to an endpoint, spread evenly, with pauses that the endpoint asks for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SLOWEST = 60.0  # longest pause between two attempts, in seconds, if the endpoint names none


class Pace:
    """Spreads requests or tokens evenly, so that no minute has more of them than allowed.

    Args:
        per_minute: limit for one minute; None for no limit.
        clock: returns the time in seconds.
    """

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.clock = per_minute, clock
        self._free = self._until = float("-inf")  # times when the next request may be sent, and when a pause ends

    def delay(self, amount: float = 1.0) -> float:
        """Reserve `amount`, and return the seconds to wait before it may be sent."""
        now = self.clock()
        start = max(self._free, now)
        self._free = start + (60.0 * amount / self.per_minute if self.per_minute else 0.0)
        return start - now

    def hold(self, seconds: float) -> None:
        """Pause for some seconds."""
        self._until = max(self._until, self.clock() + seconds)
        self._free = max(self._free, self._until)

    @property
    def held(self) -> bool:
        """Whether there is a pause now."""
        return self.clock() < self._until


def backoff(attempt: int) -> float:
    """Return the seconds to wait after a failed attempt (0, 1, ...); they double, with random jitter."""
    return min(SLOWEST, 2.0**attempt) * random.uniform(0.5, 1.0)


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds in a Retry-After header, which holds seconds or a date; None if it is absent or malformed."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None
