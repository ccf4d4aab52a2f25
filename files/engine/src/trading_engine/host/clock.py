"""The engine's clock, and the names of trading sessions, which contain the date.

The clock gives the engine time: nanoseconds since midnight of the session's date. This time never goes back. It exceeds
24 hours if the session is still open on the next date.
"""

from __future__ import annotations

import time
from datetime import datetime, tzinfo
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # in ASCII order, so that later names sort after earlier ones
SESSIONS_A_DATE: Final = 36 * 36


class SessionsUsedUpError(Exception):
    """All session names of this date are used. A new name is available on the next date."""


NOTICED_NS = 1_000_000
"""A step of the wall clock is reported from this size on."""
_LOOKS = 3


class Clock:
    """The engine's clock. `anchor` sets it by the wall clock; from then on it follows the monotonic clock.

    So it ignores a step of the wall clock within a session. Otherwise times might go back, or orders might expire too
    early. The step is only reported.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._offset_ns = 0
        self._last_ns = 0
        self._midnight_ns = 0
        self._noticed_ns = 0

    def anchor(self, day: str, last_ns: int = 0) -> None:
        """Set the clock to the wall clock's time since midnight of `day`, or to `last_ns` if that is later.

        `day` begins with YYYYMMDD, as the name of a session does.
        """
        midnight = datetime.strptime(day[:8], "%Y%m%d").replace(tzinfo=self._zone)
        self._midnight_ns = int(midnight.timestamp()) * 1_000_000_000
        monotonic_ns, wall_ns = _look()
        self._offset_ns = max(wall_ns - self._midnight_ns, last_ns) - monotonic_ns
        self._last_ns = last_ns
        self._noticed_ns = 0

    def at(self, monotonic_ns: int) -> int:
        """Return the engine time that belongs to a monotonic time. It is never less than an earlier result."""
        now_ns = monotonic_ns + self._offset_ns
        if now_ns > self._last_ns:
            self._last_ns = now_ns
        return self._last_ns

    def now(self) -> int:
        return self.at(time.monotonic_ns())

    def deviation_ns(self) -> int:
        """Return in nanoseconds how far the engine's clock is ahead of the wall clock.

        The value changes only when the wall clock is stepped. The kernel's gradual corrections affect both clocks
        alike.
        """
        monotonic_ns, wall_ns = _look()
        return self.at(monotonic_ns) - (wall_ns - self._midnight_ns)

    def noticed_step(self, deviation_ns: int) -> int:
        """Return in nanoseconds by how much the wall clock was stepped since the last step that was returned.

        `deviation_ns` is the present deviation. The result is 0 if the step is less than NOTICED_NS.
        """
        step_ns = self._noticed_ns - deviation_ns
        if abs(step_ns) < NOTICED_NS:
            return 0
        self._noticed_ns = deviation_ns
        return step_ns

    def is_over(self, day: str) -> bool:
        """Return whether the session's date is over. The session's name `day` begins with that date."""
        return day[:8] < self.today()

    def today(self) -> str:
        """Return the present date in the clock's time zone as YYYYMMDD."""
        return datetime.fromtimestamp(time.time_ns() // 1_000_000_000, self._zone).strftime("%Y%m%d")

    def next_session(self, previous: str) -> str:
        """Return the name of the session after `previous`: a date as YYYYMMDD, then a number of two digits in base 36.

        If the present date is later than the date of `previous`, the name has the present date and the number 00.
        Otherwise it has the date of `previous` and the next number. So the name always sorts after `previous`. Raises
        SessionsUsedUpError when the number ZZ is used.
        """
        today, date, used = self.today(), previous[:8], previous[8:]
        if today > date:
            return today + "00"
        # Older releases counted in decimal, and continued with the three digits 100 after 99.
        number = int(used, 36) + 1 if len(used) == 2 else int("99", 36) + int(used) - 99
        if number >= SESSIONS_A_DATE:
            raise SessionsUsedUpError(f"session {previous} is the last that {date} has a name for")
        tens, ones = divmod(number, 36)
        return date + _DIGITS[tens] + _DIGITS[ones]


def _look() -> tuple[int, int]:
    """Return two times of the same moment in nanoseconds: the monotonic time and the wall clock's time."""
    looks = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(_LOOKS)]
    # An interrupt between the readings of the two clocks would look like a step of the wall clock. So the clocks are
    # read several times. The attempt that took the shortest time was not interrupted.
    _, monotonic_ns, wall_ns = min((after - before, after, wall) for before, wall, after in looks)
    return monotonic_ns, wall_ns
