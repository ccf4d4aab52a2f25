"""A timer with a resolution of microseconds, made by timerfd_create(2).

The timers of event loops have a resolution of only a millisecond.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import time

_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are these by definition
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_ITIMERSPEC = struct.Struct("qqqq")
_libc = ctypes.CDLL(None, use_errno=True)


class IntervalTimer:
    """A periodic timer. Its `descriptor` becomes readable each time that an interval has passed."""

    def __init__(self, interval_ns: int) -> None:
        """Create the timer and start it. Raises OSError."""
        self._interval_ns = interval_ns
        self._next_ns = 0
        self.descriptor: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, _FLAGS)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        try:
            self.start()
        except OSError:
            self.close()
            raise

    def start(self) -> None:
        """Start the timer again. Its first interval begins now. Raises OSError."""
        self._next_ns = time.monotonic_ns() + self._interval_ns
        self._set(self._interval_ns, self._next_ns)

    def stop(self) -> None:
        """Stop the timer until the next `start`. Raises OSError."""
        self._set(0, 0)

    def _set(self, interval_ns: int, first_ns: int) -> None:
        setting = _ITIMERSPEC.pack(*divmod(interval_ns, 1_000_000_000), *divmod(first_ns, 1_000_000_000))
        if _libc.timerfd_settime(self.descriptor, _ABSOLUTE, setting, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def expirations(self) -> list[int]:
        """Return the monotonic times in nanoseconds at which the timer expired since the last call."""
        try:
            count = int.from_bytes(os.read(self.descriptor, 8), sys.byteorder)
        except BlockingIOError:
            return []
        times = [self._next_ns + number * self._interval_ns for number in range(count)]
        self._next_ns += count * self._interval_ns
        return times

    def close(self) -> None:
        os.close(self.descriptor)
