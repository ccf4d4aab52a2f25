"""Control of Python's garbage collector, so that its pauses stay short however many orders rest in the book.

Each collection examines only the objects that are new since the last collection. Objects that survive are frozen
(`gc.freeze`), and no later collection examines them. The pause grows with the number of new objects, so there is a
collection after each MESSAGES messages, and every 100 ms. Orders form no reference cycles, so they never need a
collection. The collections are for all other objects.
"""

from __future__ import annotations

import gc
import time

from trading_engine.published.catalogue import STALL_NS
from trading_engine.published.stats import Stats

MESSAGES = 1_000  # a collection after so many new orders takes about half a millisecond


class Garbage:
    """The control of this process's garbage collector.

    It publishes the lengths of the pauses. Pauses over STALL_NS are reported as stalls.
    """

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._left = MESSAGES
        self._longest_ns = 0
        self._longest_before_ns = 0

    def start(self) -> None:
        """Switch Python's automatic collection off, and freeze all objects that exist now."""
        gc.collect()
        gc.freeze()
        gc.disable()

    def after(self, messages: int) -> None:
        """Count `messages` further answered messages, and collect garbage if they are enough.

        They are enough if MESSAGES or more were counted since the last collection.
        """
        self._left -= messages
        if self._left <= 0:
            self.collect()

    def begin_second(self) -> None:
        """Begin a new second, for the published value "longest recent pause".

        The value covers this second and the second before. So a reader that reads once a second misses no pause.
        """
        self._longest_before_ns, self._longest_ns = self._longest_ns, 0

    def collect(self) -> None:
        """Collect garbage among the new objects, and freeze the objects that survive."""
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
