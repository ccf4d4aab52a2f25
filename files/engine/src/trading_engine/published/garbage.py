"""Garbage collection that never walks the book: only what is young is looked at, and what lives through it is frozen.

The order's way makes no cycles, so it is collected for the sake of all else. What is young grows with the orders of a
time, and so would the pause: it comes after so many messages, or after 100 ms.
"""

from __future__ import annotations

import gc
import time

from trading_engine.published.catalogue import STALL_NS
from trading_engine.published.stats import Stats

MESSAGES = 1_000  # Enters of new orders make a pause of about half a millisecond


class Garbage:
    """Every pause is counted, and one that is a stall is named as such."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._left = MESSAGES
        self._longest_ns = 0
        self._longest_before_ns = 0

    def start(self) -> None:
        """Take the collector of this process over; what exists now is never looked at again."""
        gc.collect()
        gc.freeze()
        gc.disable()

    def after(self, messages: int) -> None:
        """So many messages were answered."""
        self._left -= messages
        if self._left <= 0:
            self.collect()

    def begin_second(self) -> None:
        """Pauses stay published until the end of the second after theirs, so that who looks every second sees all."""
        self._longest_before_ns, self._longest_ns = self._longest_ns, 0

    def collect(self) -> None:
        """Look at what is young now, and freeze what lives."""
        self._left = MESSAGES
        begun_ns = time.monotonic_ns()
        gc.collect(0)
        gc.freeze()
        pause_ns = time.monotonic_ns() - begun_ns
        stats = self._stats
        stats.count("gc_collections", 1)
        self._longest_ns = max(self._longest_ns, pause_ns)
        stats.set("gc_pause_recent_ns", max(self._longest_ns, self._longest_before_ns))
        stats.raise_to("gc_pause_max_ns", pause_ns)
        if pause_ns > STALL_NS:
            stats.stall("gc", pause_ns)
