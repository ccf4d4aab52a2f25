"""Garbage collection that never walks the book: it looks at new objects only, and freezes those that survive.

Orders make no cycles, so the collection is for all other code. The pause grows with the number of new objects. So a
collection follows a fixed number of messages, or 100 ms.
"""

from __future__ import annotations

import gc
import time

from trading_engine.published.catalogue import STALL_NS
from trading_engine.published.stats import Stats

MESSAGES = 1_000  # so many new orders cause a pause of about half a millisecond


class Garbage:
    """The collector of this process. It counts every pause and reports a long one as a stall."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._left = MESSAGES
        self._longest_ns = 0
        self._longest_before_ns = 0

    def start(self) -> None:
        """Take over the collector of this process. It never looks again at the objects that exist now."""
        gc.collect()
        gc.freeze()
        gc.disable()

    def after(self, messages: int) -> None:
        """Count answered messages, and collect when there were enough."""
        self._left -= messages
        if self._left <= 0:
            self.collect()

    def begin_second(self) -> None:
        """Begin a new second.

        A pause stays published until the end of the next second, so a reader that looks once a second sees it.
        """
        self._longest_before_ns, self._longest_ns = self._longest_ns, 0

    def collect(self) -> None:
        """Collect the new objects and freeze those that survive."""
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
