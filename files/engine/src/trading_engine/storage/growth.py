"""The rate at which the journal grows, and the time until its space is used up."""

from __future__ import annotations

from typing import Final

_NEWEST_SHARE: Final = 0.2
_GROWTH_BYTES_A_SECOND: Final = 1.0  # a lower rate counts as no growth


class Growth:
    """The moving average of the journal's growth in bytes per second. Call `see` about once a second."""

    def __init__(self) -> None:
        self._bytes_a_second = 0.0
        self._seen_ns = 0
        self._seen_bytes = 0

    def see(self, now_ns: int, written_bytes: int) -> None:
        """Record that `written_bytes` bytes were written in total up to the monotonic time `now_ns`."""
        if self._seen_ns:
            rate = (written_bytes - self._seen_bytes) * 1e9 / (now_ns - self._seen_ns)
            self._bytes_a_second += (rate - self._bytes_a_second) * _NEWEST_SHARE
        self._seen_ns, self._seen_bytes = now_ns, written_bytes

    def seconds_left(self, left_bytes: int) -> int:
        """Return in how many seconds `left_bytes` will be used up, or -1 if the journal does not grow."""
        if self._bytes_a_second < _GROWTH_BYTES_A_SECOND:
            return -1
        return int(left_bytes / self._bytes_a_second)
