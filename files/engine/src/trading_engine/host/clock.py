"""Engine time: nanoseconds since midnight of the trading day's date, which never goes back and may exceed 24 hours."""

from __future__ import annotations

import time
from datetime import datetime, tzinfo

NOTICED_NS = 1_000_000
_LOOKS = 3


class Clock:
    """Follows the monotonic clock from where it was anchored; the wall clock may jump as it likes.

    A jump is never followed within a session: times would go back, or orders' times in force would end early.
    It is noticed instead.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._offset_ns = 0
        self._last_ns = 0
        self._midnight_ns = 0
        self._noticed_ns = 0

    def anchor(self, day: str, last_ns: int = 0) -> None:
        """Take the wall clock's time since midnight of `day`, YYYYMMDD…; not before the last time given."""
        midnight = datetime.strptime(day[:8], "%Y%m%d").replace(tzinfo=self._zone)
        self._midnight_ns = int(midnight.timestamp()) * 1_000_000_000
        self._offset_ns = time.time_ns() - self._midnight_ns - time.monotonic_ns()
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
        """Return engine time minus the wall clock's; both are slewed alike, so only a step makes it."""
        looks = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(_LOOKS)]
        # Whoever is interrupted between the two clocks would see a step; the shortest look is the one that was not.
        _, monotonic_ns, wall_ns = min((after - before, after, wall) for before, wall, after in looks)
        return self.at(monotonic_ns) - (wall_ns - self._midnight_ns)

    def noticed_step(self, deviation_ns: int) -> int:
        """Return by how much the wall clock was stepped since this was asked last; 0 for less than a millisecond."""
        step_ns = self._noticed_ns - deviation_ns
        if abs(step_ns) < NOTICED_NS:
            return 0
        self._noticed_ns = deviation_ns
        return step_ns

    def is_over(self, day: str) -> bool:
        """Say whether a later date than the session's has begun; a wall clock that went back ends no session."""
        return day[:8] < self.today()

    def today(self) -> str:
        """Return the zone's date as YYYYMMDD."""
        return datetime.fromtimestamp(time.time_ns() / 1e9, self._zone).strftime("%Y%m%d")

    def next_session(self, previous: str) -> str:
        """Return the name of today's next session: the date and a number from 00."""
        date = max(self.today(), previous[:8])  # a name is given once, wherever the wall clock went
        if not previous.startswith(date):
            return date + "00"
        return f"{date}{int(previous[8:]) + 1:02d}"
