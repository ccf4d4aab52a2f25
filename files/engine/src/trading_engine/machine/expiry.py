"""Orders that live for a number of seconds, by the second in which they end. Only such orders are here."""

from __future__ import annotations

import heapq
from itertools import islice
from typing import Final

from trading_engine.machine.book import Order

_SECOND_NS: Final = 1_000_000_000
_BUCKETS_A_SECOND: Final = 16  # so that no bucket is so large that growing it would be felt


class ExpiryTable:
    """An order is in a bucket of the second after its end, and leaves it when it dies earlier.

    Orders come with increasing references, so that a bucket is always in that order.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, dict[int, Order]] = {}
        self._keys: list[int] = []

    def add(self, order: Order) -> None:
        key = _key_of(order)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = {}
            self._buckets[key] = bucket
            heapq.heappush(self._keys, key)
        bucket[order.reference] = order

    def remove(self, order: Order) -> None:
        bucket = self._buckets.get(_key_of(order))
        if bucket is not None:
            bucket.pop(order.reference, None)

    def is_due(self, time_ns: int) -> bool:
        return bool(self._keys) and self._keys[0] // _BUCKETS_A_SECOND * _SECOND_NS <= time_ns

    def due(self, time_ns: int, limit: int) -> list[Order]:
        """Return up to `limit` orders that ended. They leave when they are removed, empty buckets here."""
        while self.is_due(time_ns):
            bucket = self._buckets[self._keys[0]]
            if bucket:
                return list(islice(bucket.values(), limit))
            del self._buckets[heapq.heappop(self._keys)]
        return []

    def clear(self) -> None:
        self._buckets.clear()
        self._keys.clear()


def _key_of(order: Order) -> int:
    second = -(-order.expiry_ns // _SECOND_NS)
    return second * _BUCKETS_A_SECOND + order.reference % _BUCKETS_A_SECOND
