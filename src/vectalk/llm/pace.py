"""How fast an endpoint may be asked: so many a minute, evenly spread, and not at all while it asks for a pause."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SLOWEST = 60.0  # seconds between two attempts, where the endpoint does not say


class Pace:
    """Spreads what is sent so that no minute has more of it than allowed.

    Args:
        per_minute: how much a minute; None for no limit.
        clock: tells the seconds.
    """

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.clock = per_minute, clock
        self._free = self._until = float("-inf")  # when the next may go; when a pause ends

    def delay(self, amount: float = 1.0) -> float:
        """Book `amount` and return how many seconds to wait before it may be sent."""
        now = self.clock()
        start = max(self._free, now)
        self._free = start + (60.0 * amount / self.per_minute if self.per_minute else 0.0)
        return start - now

    def hold(self, seconds: float) -> None:
        """Let nothing go for some seconds."""
        self._until = max(self._until, self.clock() + seconds)
        self._free = max(self._free, self._until)

    @property
    def held(self) -> bool:
        """Whether nothing may go now because of a pause."""
        return self.clock() < self._until


def backoff(attempt: int) -> float:
    """Return how long to wait after a failed attempt (0, 1, ...): doubling, with jitter, so that clients part."""
    return min(SLOWEST, 2.0**attempt) * random.uniform(0.5, 1.0)


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Read a Retry-After header, seconds or a date; None where there is none that can be read."""
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
