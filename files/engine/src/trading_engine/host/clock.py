"""Engine time: nanoseconds since midnight of the trading day's date, which never goes back and may exceed 24 hours."""

from __future__ import annotations

import time
from datetime import datetime, tzinfo


class Clock:
    """Follows the monotonic clock from where it was anchored; the wall clock may jump as it likes."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._offset_ns = 0
        self._last_ns = 0

    def anchor(self, day: str, last_ns: int = 0) -> None:
        """Take the wall clock's time since midnight of `day`, YYYYMMDD…; not before the last time given."""
        midnight = datetime.strptime(day[:8], "%Y%m%d").replace(tzinfo=self._zone)
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

    def today(self) -> str:
        """Return the zone's date as YYYYMMDD."""
        return datetime.now(self._zone).strftime("%Y%m%d")

    def next_session(self, previous: str) -> str:
        """Return the name of today's next session: the date and a number from 00."""
        date = self.today()
        if not previous.startswith(date):
            return date + "00"
        return f"{date}{int(previous[8:]) + 1:02d}"
