"""Engine time: nanoseconds since midnight of the trading day's date, which never goes back and may exceed 24 hours."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Follows the monotonic clock from where it was anchored; the wall clock may jump as it likes."""

    def __init__(self) -> None:
        self._offset_ns = 0
        self._last_ns = 0

    def anchor(self, day: str, last_ns: int = 0) -> None:
        """Take the wall clock's time since midnight (UTC) of `day`, YYYYMMDD…; not before the last time given."""
        midnight = datetime.strptime(day[:8], "%Y%m%d").replace(tzinfo=UTC)
        since_midnight_ns = time.time_ns() - int(midnight.timestamp()) * 1_000_000_000
        self._offset_ns = since_midnight_ns - time.monotonic_ns()
        self._last_ns = last_ns

    def at(self, monotonic_ns: int) -> int:
        """Return the engine time of a monotonic time; never less than what was returned before."""
        now_ns = monotonic_ns + self._offset_ns
        if now_ns > self._last_ns:
            self._last_ns = now_ns
        return self._last_ns

    def now(self) -> int:
        return self.at(time.monotonic_ns())


def today() -> str:
    """Return the date in UTC as YYYYMMDD."""
    return datetime.now(UTC).strftime("%Y%m%d")
