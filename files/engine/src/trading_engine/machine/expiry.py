"""The table of the orders whose time in force is a number of seconds, sorted by the second in which they expire."""

from __future__ import annotations

import heapq
from itertools import islice
from typing import Final

from trading_engine.machine.book import Order

_SECOND_NS: Final = 1_000_000_000
_BUCKETS_A_SECOND: Final = 16  # so that each dict stays small, because Python needs long to enlarge a large one


class ExpiryTable:
    """The orders that expire, in buckets. An order is in the bucket of the first full second at or after its expiry.

    Orders are added with increasing reference numbers, so each bucket is sorted by reference number.
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
        """Return whether the second of the first bucket has come. That bucket may be empty."""
        return bool(self._keys) and self._keys[0] // _BUCKETS_A_SECOND * _SECOND_NS <= time_ns

    def due(self, time_ns: int, limit: int) -> list[Order]:
        """Return up to `limit` expired orders. The caller must remove them from the table."""
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
