"""Engine time: nanoseconds since midnight of the trading day's date. It never goes back and may exceed 24 hours."""

from __future__ import annotations

import time
from datetime import datetime, tzinfo
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # in the order of their bytes: names sort by age
SESSIONS_A_DATE: Final = 36 * 36


class SessionsUsedUpError(Exception):
    """No session name of this date is left. The next date has unused names."""


NOTICED_NS = 1_000_000
_LOOKS = 3


class Clock:
    """The engine's clock: it follows the monotonic clock from its anchor, whatever the wall clock does.

    The clock follows no jump of the wall clock within a session. Otherwise times would go back, or orders' times in
    force would end early. The jump is reported instead.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._offset_ns = 0
        self._last_ns = 0
        self._midnight_ns = 0
        self._noticed_ns = 0

    def anchor(self, day: str, last_ns: int = 0) -> None:
        """Anchor at the wall clock's time since midnight of `day`, YYYYMMDD…, or the last time if that is later."""
        midnight = datetime.strptime(day[:8], "%Y%m%d").replace(tzinfo=self._zone)
        self._midnight_ns = int(midnight.timestamp()) * 1_000_000_000
        monotonic_ns, wall_ns = _look()
        self._offset_ns = max(wall_ns - self._midnight_ns, last_ns) - monotonic_ns
        self._last_ns = last_ns
        self._noticed_ns = 0

    def at(self, monotonic_ns: int) -> int:
        """Return the engine time of a monotonic time; never less than what was returned before."""
        now_ns = monotonic_ns + self._offset_ns
        if now_ns > self._last_ns:
            self._last_ns = now_ns
        return self._last_ns

    def now(self) -> int:
        return self.at(time.monotonic_ns())

    def deviation_ns(self) -> int:
        """Return engine time minus wall-clock time. The kernel slews both alike, so only a step makes them differ."""
        monotonic_ns, wall_ns = _look()
        return self.at(monotonic_ns) - (wall_ns - self._midnight_ns)

    def noticed_step(self, deviation_ns: int) -> int:
        """Return by how much the wall clock was stepped since the last call; 0 for less than a millisecond."""
        step_ns = self._noticed_ns - deviation_ns
        if abs(step_ns) < NOTICED_NS:
            return 0
        self._noticed_ns = deviation_ns
        return step_ns

    def is_over(self, day: str) -> bool:
        """Return whether a later date than the session's has begun; a wall clock that was set back ends no session."""
        return day[:8] < self.today()

    def today(self) -> str:
        """Return the zone's date as YYYYMMDD."""
        return datetime.fromtimestamp(time.time_ns() // 1_000_000_000, self._zone).strftime("%Y%m%d")

    def next_session(self, previous: str) -> str:
        """Return the name of the session after `previous`: its date, then two digits of base 36 from 00.

        The name is always greater than `previous`. If the wall clock's date is not later, the previous date is kept.
        Raises SessionsUsedUpError.
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


def _look() -> tuple[int, int]:
    """Return the monotonic and the wall clock's time of one moment."""
    looks = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(_LOOKS)]
    # An interrupt between the two readings would look like a step. The shortest pair of readings had none.
    _, monotonic_ns, wall_ns = min((after - before, after, wall) for before, wall, after in looks)
    return monotonic_ns, wall_ns
