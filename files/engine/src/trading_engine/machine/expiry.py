"""Orders that live for a number of seconds, by the second in which they end. The table holds no other orders."""

from __future__ import annotations

import heapq
from itertools import islice
from typing import Final

from trading_engine.machine.book import Order

_SECOND_NS: Final = 1_000_000_000
_BUCKETS_A_SECOND: Final = 16  # keeps buckets small, because growing a large dict takes noticeable time


class ExpiryTable:
    """The table of orders by their end: each is in a bucket of the second after its end, until it is removed.

    Orders are added with increasing references, so each bucket is sorted by reference.
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
        """Return up to `limit` orders that have ended. The caller removes them; empty buckets are deleted here."""
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
