"""The order book of a symbol: all its resting orders, sorted by price, then displayed before hidden, then by time.

The book only keeps the orders in this sequence; messages, counters and limits are elsewhere. The orders of one price
form a linked list, so that a cancel or an execution takes constant time. Each side has a sorted list of its prices, in
which the best price is the last.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final

from trading_engine.machine.encode import (
    BUY,
    FEED_ADD_HEAD,
    FEED_ATTRIBUTED_HEAD,
    FEED_BROKEN_HEAD,
    FEED_CANCEL_HEAD,
    FEED_DELETE_HEAD,
    FEED_EXECUTED_HEAD,
    FEED_REPLACE_HEAD,
    FEED_TRADE_HEAD,
)
from trading_engine.machine.native import mypyc_attr

if TYPE_CHECKING:
    from trading_engine.machine.terms import Terms

_EMPTY: Final = -(1 << 60)  # less than every key
_CENT_E4: Final = 100  # the tick for prices of a dollar or more, of symbols without a tick of their own


class Owner:
    """The part of an account that the matching of orders reads and writes. Account is the only subclass."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.out: list[bytes] = []
        self.touched = False
        self.sequence = 0
        self.taken = 0  # the number of the last reply that was removed from `out`
        self.self_match = 0
        self.firm = ""
        self.firm_wide = False  # whether self-match prevention covers the whole firm
        self.max_exposure_e4 = 0
        self.exposure_e4 = 0

    def put(self, order: Order) -> None:
        """Record an order that is live from now on."""
        raise NotImplementedError

    def drop(self, order: Order) -> None:
        """Record that an order is no longer live."""
        raise NotImplementedError


# Orders and levels refer to each other only while the orders rest, because `BookSide.remove` deletes these references.
# So the garbage collector need not track them (acyclic). Otherwise, freeing an order would also write to its neighbours
# in the collector's list, which are usually in no CPU cache.
@mypyc_attr(acyclic=True)
class Order:
    """A live order. `executed_shares` also counts the executed shares of the orders that it replaced."""

    __slots__ = (
        "account",
        "book",
        "executed_shares",
        "expiry_ns",
        "level",
        "newer",
        "older",
        "open_shares",
        "price_e4",
        "reference",
        "side",
        "terms",
        "token",
    )

    def __init__(
        self,
        token: bytes,
        account: Owner,
        book: Book,
        reference: int,
        side: int,
        open_shares: int,
        executed_shares: int,
        price_e4: int,
        terms: Terms,
    ) -> None:
        self.token = token
        self.account = account
        self.book = book
        self.reference = reference
        self.side = side
        self.open_shares = open_shares
        self.executed_shares = executed_shares
        self.price_e4 = price_e4
        self.terms = terms
        self.expiry_ns = 0
        self.level: Level | None = None
        self.older: Order | None = None
        self.newer: Order | None = None


@mypyc_attr(acyclic=True)
class Level:
    """The displayed or the hidden orders of one price, as a linked list from `oldest` to `newest`.

    `shares` is the sum of their open shares.
    """

    __slots__ = ("hidden", "key", "newest", "oldest", "price_e4", "shares")

    def __init__(self, key: int, price_e4: int, hidden: bool) -> None:
        self.key = key
        self.price_e4 = price_e4
        self.hidden = hidden
        self.shares = 0
        self.oldest: Order | None = None
        self.newest: Order | None = None


class BookSide:
    """One side of a book: all its bids or all its asks, in levels.

    A level has a key that sorts by price, then displayed before hidden. The largest key is the best. `best` is the last
    of `keys`. It is stored separately, because most orders need only this key: one memory access reads it instead of
    four.
    """

    __slots__ = ("best", "buy", "keys", "levels")

    def __init__(self, buy: bool) -> None:
        self.buy = buy
        self.best = _EMPTY
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}

    def add(self, order: Order) -> None:
        """Add the order to the side, as the last order of its level."""
        price_e4 = order.price_e4
        hidden = order.terms.hidden
        key = 2 * price_e4 + 1 if self.buy else -2 * price_e4
        if hidden:
            key -= 1
        level = self.levels.get(key)
        if level is None:
            level = Level(key, price_e4, hidden)
            self.levels[key] = level
            if key > self.best:
                self.keys.append(key)
                self.best = key
            else:
                insort(self.keys, key)
        else:
            order.price_e4 = level.price_e4  # all orders of the level share one int object
        newest = level.newest
        if newest is None:
            level.oldest = order
        else:
            newest.newer = order
            order.older = newest
        level.newest = order
        level.shares += order.open_shares
        order.level = level

    def remove(self, order: Order) -> None:
        """Remove the order from the side, even if it has open shares.

        The order's references to other orders and to its level are deleted.
        """
        level = order.level
        assert level is not None
        older, newer = order.older, order.newer
        if older is None:
            level.oldest = newer
        else:
            older.newer = newer
        if newer is None:
            level.newest = older
        else:
            newer.older = older
        order.older = None
        order.newer = None
        order.level = None
        level.shares -= order.open_shares
        if level.oldest is None:
            key = level.key
            del self.levels[key]
            keys = self.keys
            if key == self.best:
                keys.pop()
                self.best = keys[-1] if keys else _EMPTY
            else:
                del keys[bisect_left(keys, key)]

    def best_displayed(self) -> Level | None:
        """Return the best level that has displayed orders, or None."""
        index = len(self.keys) - 1
        while index >= 0:
            level = self.levels[self.keys[index]]
            if not level.hidden:
                return level
            index -= 1
        return None

    def crosses(self, price_e4: int) -> bool:
        """Return whether an order at `price_e4` could be executed against the best order of this side.

        The best order may be a hidden one. The price is in 1/10,000 of the currency unit.
        """
        return self.best >= (2 * price_e4 if self.buy else -2 * price_e4 - 1)


class Book:
    """The book of one symbol: its bids and asks, its last trade, and the constant parts of its market data."""

    def __init__(self, stock: bytes, locate: int, reference_price_e4: int) -> None:
        """`stock` is the symbol's name, padded to 8 bytes; `locate` is its number in market data."""
        self.stock = stock
        self.locate = locate
        self.restricted = False
        self.halted = False
        self.lot_shares = 1
        self.special = False  # restricted, halted, or with a lot; so most orders need a single test for all three
        self.own_tick_e4 = 0
        self.tick_e4 = _CENT_E4
        self.low_tick_e4 = 1  # the tick for prices below a dollar
        self.bids = BookSide(True)
        self.asks = BookSide(False)
        self.collar_price_e4 = reference_price_e4
        self.last_price_e4 = 0
        self.last_shares = 0
        self.last_ns = 0
        self.trades = 0
        self.traded_shares = 0
        place = locate.to_bytes(2, "big") + b"\0\0"
        self.add_head = FEED_ADD_HEAD + place
        self.attributed_head = FEED_ATTRIBUTED_HEAD + place
        self.executed_head = FEED_EXECUTED_HEAD + place
        self.cancel_head = FEED_CANCEL_HEAD + place
        self.delete_head = FEED_DELETE_HEAD + place
        self.replace_head = FEED_REPLACE_HEAD + place
        self.trade_head = FEED_TRADE_HEAD + place
        self.broken_head = FEED_BROKEN_HEAD + place

    def set_listing(self, restricted: bool, own_tick_e4: int, lot_shares: int) -> None:
        """Set the symbol's restriction, tick and lot size.

        If the given tick is 0, the tick depends on the price: it is a cent from a dollar on, and 1/100 of a cent below.
        """
        self.restricted = restricted
        self.own_tick_e4 = own_tick_e4
        self.tick_e4 = own_tick_e4 or _CENT_E4
        self.low_tick_e4 = own_tick_e4 or 1
        self.lot_shares = lot_shares
        self.special = restricted or self.halted or lot_shares != 1

    def set_halted(self, halted: bool) -> None:
        self.halted = halted
        self.special = self.restricted or halted or self.lot_shares != 1

    def side_of(self, side: int) -> BookSide:
        """Return the bids if the side is OUCH's letter B, otherwise the asks."""
        return self.bids if side == BUY else self.asks


def orders_of(side: BookSide) -> list[Order]:
    """Return all orders of one side of a book, the best first."""
    orders = []
    for key in reversed(side.keys):
        order = side.levels[key].oldest
        while order is not None:
            orders.append(order)
            order = order.newer
    return orders
