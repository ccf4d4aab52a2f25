"""The collection of the numbers that the engine publishes.

Most numbers are counted by the engine's objects. Ten times a second the engine copies them from these objects into the
arrays of the StateWriter, as the catalogue says.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from trading_engine.machine.book import Book
from trading_engine.machine.core import Core
from trading_engine.published.catalogue import COUNTER_METRICS, COUNTERS, GAUGE_METRICS, GAUGES, Metric, numbers
from trading_engine.published.shm import SYMBOL_CAPACITY, Event, StateWriter, TopOfBook

_SYMBOLS_A_TIME = 256
_COUNTER = {name: position for position, name in enumerate(COUNTERS)}
_GAUGE = {name: position for position, name in enumerate(GAUGES)}


class _Taken(NamedTuple):
    """The source of a published number: an attribute of an object or, if `element` is not negative, that element of it.

    `position` is the number's position in the published array.
    """

    position: int
    attribute: str
    element: int

    def value(self, source: object) -> int:
        value: Any = getattr(source, self.attribute)
        number: int = value if self.element < 0 else value[self.element]
        return number


def _taken(metrics: tuple[Metric, ...]) -> dict[str, list[_Taken]]:
    """Return a dictionary: name of an object → the sources in it, for the numbers of these metrics.

    A source says which attribute of the object has the value of a number.
    """
    found: dict[str, list[_Taken]] = {}
    for position, number in enumerate(numbers(metrics)):
        if number.taken:
            source, _, attribute = number.taken.partition(".")
            attribute, _, index = attribute.rstrip("]").partition("[")
            found.setdefault(source, []).append(_Taken(position, attribute, int(index or -1)))
    return found


_COUNTERS_OF = _taken(COUNTER_METRICS)
_GAUGES_OF = _taken(GAUGE_METRICS)
_CORE: Final = "core"


class Stats:
    """The collection of all published numbers.

    It counts connections and bytes itself, because the matching core does not know them, and it keeps the list of
    events. All other numbers it copies from other objects. `writer` publishes them all.
    """

    def __init__(self, writer: StateWriter) -> None:
        self.writer = writer
        self.events: deque[Event] = deque(maxlen=32)
        self.reads = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.messages_sent = 0
        self.feed_messages = 0
        self.feed_bytes = 0
        self.connections_accepted = 0
        self.connections_closed = 0
        self.logins_accepted = 0
        self.logins_rejected = 0
        self.logins_throttled = 0
        self.dropped_slow_clients = 0
        self.dropped_silent_clients = 0
        self.dropped_malformed_input = 0
        self.stall_noted_ns = 0
        self.receive_to_reply = writer.histograms["receive_to_reply"]
        self.service = writer.histograms["service"]
        self.canary = writer.histograms["canary"]
        self._left_out = [0] * len(_COUNTERS_OF[_CORE])
        for name in ("stall_last_ns", "stall_max_ns"):
            self.set(name, 0)

    def event(self, text: str) -> None:
        """Add to the list of events an event that an operator should know of. Its time is now."""
        self.events.append(Event(time.time_ns(), text))

    def stall(self, cause: str, duration_ns: int) -> None:
        """Record a time in which the engine served no client. `cause` is one of STALL_CAUSES."""
        self.count("stalls", 1)
        self.count(f"stalls_{cause}", 1)
        self.stall_noted_ns = time.monotonic_ns()
        self.set("stall_last_ns", duration_ns)
        self.raise_to("stall_max_ns", duration_ns)
        self.event(f"stall of {duration_ns / 1e6:.1f} ms: {cause}")

    def count(self, name: str, added: int) -> None:
        """Increase the counter that has this name in the catalogue."""
        self.writer.counters[_COUNTER[name]] += added

    def set(self, name: str, value: int) -> None:
        """Set the gauge that has this name in the catalogue."""
        self.writer.gauges[_GAUGE[name]] = value

    def raise_to(self, name: str, value: int) -> None:
        """Set the gauge that has this name in the catalogue, unless the gauge is greater already."""
        position = _GAUGE[name]
        if value > self.writer.gauges[position]:
            self.writer.gauges[position] = value

    def take(self, name: str, source: object) -> None:
        """Copy all numbers whose source in the catalogue is the object named `name`. `source` is that object.

        For the matching core use `take_core`.
        """
        for taken in _COUNTERS_OF.get(name, ()):
            self.writer.counters[taken.position] = taken.value(source)
        for taken in _GAUGES_OF.get(name, ()):
            self.writer.gauges[taken.position] = taken.value(source)

    def take_core(self, core: Core) -> None:
        """Copy the numbers of the matching core.

        What `leave_out_replayed` and `leaving_out` exclude is subtracted.
        """
        counters = self.writer.counters
        for taken, count, left_out in zip(_COUNTERS_OF[_CORE], _counts_of(core), self._left_out, strict=True):
            counters[taken.position] = count - left_out
        for taken in _GAUGES_OF[_CORE]:
            self.writer.gauges[taken.position] = taken.value(core)
        self.set("symbols", len(core.books))
        self.set("trading_day", int(core.day[:8] or 0))

    def leave_out_replayed(self, core: Core) -> None:
        """Exclude from the published counters everything that the core has counted until now.

        Until now the core has only replayed the journal.
        """
        self._left_out = _counts_of(core)

    @contextmanager
    def leaving_out(self, core: Core) -> Iterator[None]:
        """Exclude from the published counters everything that the core counts inside the `with` block.

        The block processes the canary's orders.
        """
        before = _counts_of(core)
        yield
        counted = zip(self._left_out, _counts_of(core), before, strict=True)
        self._left_out = [left_out + after - earlier for left_out, after, earlier in counted]


def _counts_of(core: Core) -> list[int]:
    """Return the values of the core's counters, in the order in which the catalogue lists them."""
    return [taken.value(core) for taken in _COUNTERS_OF[_CORE]]


class TopSymbols:
    """The search for the most traded symbols. To be fast, each call of `publish` examines only some of the symbols."""

    def __init__(self) -> None:
        self._chosen: list[Book] = []
        self._next = 0

    def publish(self, books: list[Book]) -> list[TopOfBook]:
        """Return the best prices of the most traded symbols that were found so far, the most traded first."""
        chosen = {book.locate: book for book in self._chosen}
        for book in books[self._next : self._next + _SYMBOLS_A_TIME]:
            chosen[book.locate] = book
        self._next = self._next + _SYMBOLS_A_TIME if self._next + _SYMBOLS_A_TIME < len(books) else 0
        self._chosen = heapq.nlargest(SYMBOL_CAPACITY, chosen.values(), key=_trades_of)
        return [_top_of(book) for book in self._chosen]


def _trades_of(book: Book) -> int:
    return book.trades


def _top_of(book: Book) -> TopOfBook:
    bid, ask = book.bids.best_displayed(), book.asks.best_displayed()
    return TopOfBook(
        book.stock.decode("ascii").rstrip(),
        bid.price_e4 if bid else 0,
        bid.shares if bid else 0,
        ask.price_e4 if ask else 0,
        ask.shares if ask else 0,
        book.last_price_e4,
        book.last_shares,
        book.last_ns,
        book.trades,
        book.traded_shares,
    )
