"""The messages of OUCH 4.2, the protocol of order entry: those from clients (`INBOUND`) and to clients (`OUTBOUND`).

Prices are integers in 1/10,000 of the currency unit (`_e4`). Times are in nanoseconds since midnight. The type letters
`U` and `M` mean different messages in the two directions.
"""

from __future__ import annotations

from typing import NamedTuple

from trading_engine.wire.layout import Layout, Protocol

TOKEN_BYTES = 14
STATE_LIVE = b"L"
TIF_IOC = 0
TIF_MARKET_HOURS = 99_998
TIF_SYSTEM_HOURS = 99_999
MAX_PRICE_E4 = 1_999_999_900
MARKET_PRICE_E4 = 0x7FFFFFFF
MAX_SHARES = 999_999


class EnterOrder(NamedTuple):
    token: str
    side: str
    shares: int
    stock: str
    price_e4: int
    time_in_force_s: int = TIF_SYSTEM_HOURS
    firm: str = ""
    display: str = "Y"
    capacity: str = "P"
    sweep: str = "N"
    minimum_shares: int = 0
    cross: str = "N"
    customer: str = "N"


class ReplaceOrder(NamedTuple):
    """A client's message that replaces an order by a new one.

    `shares` is the total of the new order and of all orders before it in the chain of replacements. It includes shares
    that were executed.
    """

    token: str
    new_token: str
    shares: int
    price_e4: int
    time_in_force_s: int = TIF_SYSTEM_HOURS
    display: str = "Y"
    sweep: str = "N"
    minimum_shares: int = 0


class CancelOrder(NamedTuple):
    """A client's message that reduces an order.

    `shares` is the order's new total, including executed shares. 0 cancels all open shares.
    """

    token: str
    shares: int = 0


class ModifyOrder(NamedTuple):
    token: str
    side: str
    shares: int


class TradeNow(NamedTuple):
    token: str


class SystemEvent(NamedTuple):
    time_ns: int
    event: str


class Accepted(NamedTuple):
    time_ns: int
    token: str
    side: str
    shares: int
    stock: str
    price_e4: int
    time_in_force_s: int
    firm: str
    display: str
    reference: int
    capacity: str
    sweep: str
    minimum_shares: int
    cross: str
    state: str
    bbo_weight: str


class Replaced(NamedTuple):
    time_ns: int
    token: str
    side: str
    shares: int
    stock: str
    price_e4: int
    time_in_force_s: int
    firm: str
    display: str
    reference: int
    capacity: str
    sweep: str
    minimum_shares: int
    cross: str
    state: str
    previous_token: str
    bbo_weight: str


class Canceled(NamedTuple):
    time_ns: int
    token: str
    decrement_shares: int
    reason: str


class Executed(NamedTuple):
    time_ns: int
    token: str
    shares: int
    price_e4: int
    liquidity: str
    match: int


class BrokenTrade(NamedTuple):
    time_ns: int
    token: str
    match: int
    reason: str


class Rejected(NamedTuple):
    time_ns: int
    token: str
    reason: str


class OrderModified(NamedTuple):
    time_ns: int
    token: str
    side: str
    shares: int


INBOUND = Protocol(
    "OUCH 4.2 to the host",
    [
        Layout("O", EnterOrder, "14s1sI8sII4s1s1s1sI1s1s"),
        Layout("U", ReplaceOrder, "14s14sIII1s1sI"),
        Layout("X", CancelOrder, "14sI"),
        Layout("M", ModifyOrder, "14s1sI"),
        Layout("N", TradeNow, "14s"),
    ],
)

OUTBOUND = Protocol(
    "OUCH 4.2 to the client",
    [
        Layout("S", SystemEvent, "Q1s"),
        Layout("A", Accepted, "Q14s1sI8sII4s1sQ1s1sI1s1s1s"),
        Layout("U", Replaced, "Q14s1sI8sII4s1sQ1s1sI1s1s14s1s"),
        Layout("C", Canceled, "Q14sI1s"),
        Layout("E", Executed, "Q14sII1sQ"),
        Layout("B", BrokenTrade, "Q14sQ1s"),
        Layout("J", Rejected, "Q14s1s"),
        Layout("M", OrderModified, "Q14s1sI"),
    ],
)

REJECT_REASONS = {
    "T": "test mode",
    "H": "symbol halted",
    "Z": "shares over the safety threshold",
    "S": "unknown symbol",
    "D": "invalid display",
    "C": "closed",
    "L": "clearing: firm not allowed",
    "M": "clearing: outside of permitted times",
    "R": "not in this cross",
    "X": "invalid price or outside of the collar",
    "N": "invalid minimum quantity",
    "O": "other: exposure, open orders, rate, duplicate, token",
    "a": "kill switch",
    "c": "restricted symbol",
    "m": "more shares than allowed",
    "n": "more notional than allowed",
}
