"""The journal's growth, and the time until its space is used up."""

from __future__ import annotations

from typing import Final

_NEWEST_SHARE: Final = 0.2
_GROWTH_BYTES_A_SECOND: Final = 1.0  # below it the journal does not grow


class Growth:
    """A moving average over the last calls of `see`; call it about once a second."""

    def __init__(self) -> None:
        self._bytes_a_second = 0.0
        self._seen_ns = 0
        self._seen_bytes = 0

    def see(self, now_ns: int, written_bytes: int) -> None:
        """Record the total number of bytes written so far."""
        if self._seen_ns:
            rate = (written_bytes - self._seen_bytes) * 1e9 / (now_ns - self._seen_ns)
            self._bytes_a_second += (rate - self._bytes_a_second) * _NEWEST_SHARE
        self._seen_ns, self._seen_bytes = now_ns, written_bytes

    def seconds_left(self, left_bytes: int) -> int:
        """Return how many seconds `left_bytes` will last, -1 without growth."""
        if self._bytes_a_second < _GROWTH_BYTES_A_SECOND:
            return -1
        return int(left_bytes / self._bytes_a_second)
