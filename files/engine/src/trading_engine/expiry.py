"""Orders that live for a number of seconds, by the second in which they end. Only such orders are here."""

from __future__ import annotations

import heapq
from typing import Final

from trading_engine.book import Order

_SECOND_NS: Final = 1_000_000_000


class ExpiryTable:
    """An order is in the bucket of the second after its end, and leaves it when it dies earlier."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[int, Order]] = {}
        self._seconds: list[int] = []

    def add(self, order: Order) -> None:
        second = _second_of(order)
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = {}
            self._buckets[second] = bucket
            heapq.heappush(self._seconds, second)
        bucket[order.reference] = order

    def remove(self, order: Order) -> None:
        bucket = self._buckets.get(_second_of(order))
        if bucket is not None:
            bucket.pop(order.reference, None)

    def is_due(self, time_ns: int) -> bool:
        return bool(self._seconds) and self._seconds[0] * _SECOND_NS <= time_ns

    def due(self, time_ns: int) -> list[Order]:
        """Take out and return the orders that ended, by second and then by reference."""
        ended: list[Order] = []
        while self.is_due(time_ns):
            bucket = self._buckets.pop(heapq.heappop(self._seconds))
            ended.extend(bucket[reference] for reference in sorted(bucket))
        return ended

    def clear(self) -> None:
        self._buckets.clear()
        self._seconds.clear()


def _second_of(order: Order) -> int:
    return -(-order.expiry_ns // _SECOND_NS)
