"""The core of an engine, for tests that work with decoded messages.

Messages between the test and the core are encoded and decoded in the same way as between a client and the engine.
"""

from __future__ import annotations

import itertools
from typing import Any

from trading_engine.machine.core import Core
from trading_engine.wire import itch, ouch, soupbintcp

LIMITS = {
    "max_order_shares": 0,
    "max_order_notional": 0,
    "collar_percent": 0,
    "max_open_orders": 0,
    "max_exposure": 0,
    "max_orders_per_second": 0,
    "duplicate_orders": 0,
    "duplicate_window_ms": 1000,
}


def account_settings(**changes: Any) -> dict[str, Any]:
    """Return the settings of an account without limits. `changes` can add limits or replace settings."""
    settings: dict[str, Any] = {
        "test": False,
        "tokens": "any",
        "self_match": "allow",
        "self_match_within": "account",
        "firm": "HOUSE",
        "mpids": ["HOUS", "FIRM"],
        "cancel_on_disconnect": False,
        "limits": {**LIMITS, **{key: value for key, value in changes.items() if key in LIMITS}},
    }
    settings.update({key: value for key, value in changes.items() if key not in LIMITS})
    return settings


def settings_of(
    symbols: tuple[str, ...] = ("TEST",), accounts: tuple[str, ...] = ("A", "B", "C"), **changes: Any
) -> dict[str, Any]:
    """Return settings for the core.

    `changes` replace settings of account A. Only `tick_e4` and `lot_shares` are different: they apply to each symbol.
    """
    listing = {
        "reference_price_e4": 1_000_000,
        "restricted": False,
        "tick_e4": changes.pop("tick_e4", 0),
        "lot_shares": changes.pop("lot_shares", 1),
    }
    return {
        "accounts": {name: account_settings(**(changes if name == "A" else {})) for name in accounts},
        "symbols": [{"name": name, **listing} for name in symbols],
    }


class Market:
    """A core with the accounts A, B and C, on an open trading day.

    `replies` has the decoded messages to each account. `feed` has the decoded market data, and `market_data` has the
    same market data as bytes. `take` empties all three. `opening` is the market data from the start of the day.
    """

    def __init__(self, settings: dict[str, Any] | None = None, **changes: Any) -> None:
        self.core = Core()
        self.time_ns = 1_000
        self.core.configure(settings or settings_of(**changes), self.time_ns)
        self.core.start_day("2026010500", self.time_ns)
        self.replies: dict[str, list[Any]] = {}
        self.feed: list[Any] = []
        self.market_data = b""
        self.drain()
        self.opening = self.market_data
        self.take()
        self._tokens = itertools.count(1)

    def send(self, account: str, *messages: tuple[Any, ...]) -> list[Any]:
        """Send the messages in one piece. Return the replies to this account."""
        data = b"".join(soupbintcp.unsequenced(ouch.INBOUND.encode(message)) for message in messages)
        assert self.read(account, data) == len(data), self.core.close_reason
        return self.replies.get(account, [])

    def read(self, account: str, data: bytes) -> int:
        """Give bytes to the core. Return how many of them the core has processed.

        Each call advances the core's time by a microsecond.
        """
        self.take()
        self.time_ns += 1_000
        consumed = self.core.apply(self.core.accounts[account].number, data, self.time_ns)
        self.drain()
        return consumed

    def enter(self, account: str, side: str, shares: int, price_e4: int, **terms: Any) -> str:
        """Enter an order and return its token. The token is new, unless the caller gives one."""
        token = terms.pop("token", None) or f"T{next(self._tokens):08d}"
        stock = terms.pop("stock", "TEST")
        self.send(account, ouch.EnterOrder(token, side, shares, stock, price_e4, **terms))
        return token

    def drain(self) -> None:
        for account in self.core.touched:
            splitter = soupbintcp.Splitter()
            for kind, payload in splitter.feed(b"".join(account.out)):
                assert kind == soupbintcp.SEQUENCED
                self.replies.setdefault(account.name, []).append(ouch.OUTBOUND.decode(payload))
            account.out.clear()
            account.touched = False
        self.core.touched.clear()
        data = b"".join(self.core.feed)
        self.market_data += data
        self.feed.extend(itch.FEED.decode(message) for message in itch.split_log(data))
        self.core.feed.clear()

    def take(self) -> None:
        self.replies.clear()
        self.feed.clear()
        self.market_data = b""

    def depth(self, side: str, stock: str = "TEST") -> list[tuple[int, int]]:
        """Return the price levels of one side of the book, best price first.

        A level is its price and the number of shares at this price. Hidden orders are included.
        """
        book = self.core.books[stock.encode().ljust(8)]
        levels = book.bids if side == "B" else book.asks
        return [(levels.levels[key].price_e4, levels.levels[key].shares) for key in reversed(levels.keys)]


def kinds(messages: list[Any]) -> list[str]:
    return [type(message).__name__ for message in messages]
