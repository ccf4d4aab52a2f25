"""Engine time: nanoseconds since midnight of the trading day's date, which never goes back and may exceed 24 hours."""

from __future__ import annotations

import time
from datetime import datetime, tzinfo
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # in the order of their bytes: names sort by age
SESSIONS_A_DATE: Final = 36 * 36


class SessionsUsedUpError(Exception):
    """The date has no name left for a session; the next date has."""


class Clock:
    """Follows the monotonic clock from where it was anchored; the wall clock may jump as it likes."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._offset_ns = 0
        self._last_ns = 0

    def anchor(self, day: str, last_ns: int = 0) -> None:
        """Take the time since midnight of `day`, YYYYMMDD…, by the wall clock, or the last time if that is later."""
        midnight = datetime.strptime(day[:8], "%Y%m%d").replace(tzinfo=self._zone)
        since_midnight_ns = time.time_ns() - int(midnight.timestamp()) * 1_000_000_000
        self._offset_ns = max(since_midnight_ns, last_ns) - time.monotonic_ns()
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
        return datetime.fromtimestamp(time.time_ns() // 1_000_000_000, self._zone).strftime("%Y%m%d")

    def next_session(self, previous: str) -> str:
        """Return the name of the session after `previous`: its date, then two digits of base 36 from 00.

        It is greater than `previous`, whatever the wall clock says: a date that is not later is not taken. Raises
        SessionsUsedUpError.
        """
        today, date, used = self.today(), previous[:8], previous[8:]
        if today > date:
            return today + "00"
        # Older builds counted by tens, and on to 100 when 99 was used.
        number = int(used, 36) + 1 if len(used) == 2 else int("99", 36) + int(used) - 99
        if number >= SESSIONS_A_DATE:
            raise SessionsUsedUpError(f"session {previous} is the last that {date} has a name for")
        tens, ones = divmod(number, 36)
        return date + _DIGITS[tens] + _DIGITS[ones]
