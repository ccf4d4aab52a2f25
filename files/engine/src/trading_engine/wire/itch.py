"""The messages of ITCH 5.0, the protocol of market data, that continuous trading needs.

Every message starts with four fields: its type, the stock locate (the number of the symbol), a tracking number and the
time. The time is in nanoseconds since midnight and has 48 bits. The log files have the format that NASDAQ calls
BinaryFILE: before each message stands its length, a big-endian u16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from trading_engine.wire.layout import Layout, Protocol, WireError

Message = TypeVar("Message", bound=tuple[Any, ...])


class SystemEvent(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    event: str


class StockDirectory(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    stock: str
    market_category: str
    financial_status: str
    round_lot_shares: int
    round_lots_only: str
    issue_class: str
    issue_subtype: str
    authenticity: str
    short_sale_threshold: str
    ipo: str
    luld_tier: str
    etp: str
    etp_leverage: int
    inverse: str


class TradingAction(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    stock: str
    state: str
    reserved: str
    reason: str


class AddOrder(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    reference: int
    side: str
    shares: int
    stock: str
    price_e4: int


class AddOrderAttributed(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    reference: int
    side: str
    shares: int
    stock: str
    price_e4: int
    attribution: str


class OrderExecuted(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    reference: int
    shares: int
    match: int


class OrderExecutedWithPrice(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    reference: int
    shares: int
    match: int
    printable: str
    price_e4: int


class OrderCancel(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    reference: int
    canceled_shares: int


class OrderDelete(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    reference: int


class OrderReplace(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    reference: int
    new_reference: int
    shares: int
    price_e4: int


class Trade(NamedTuple):
    """An execution against an order that was not displayed. So the order's number, `reference`, is sent as 0."""

    locate: int
    tracking: int
    time_ns: int
    reference: int
    side: str
    shares: int
    stock: str
    price_e4: int
    match: int


class CrossTrade(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    shares: int
    stock: str
    price_e4: int
    match: int
    cross: str


class BrokenTrade(NamedTuple):
    locate: int
    tracking: int
    time_ns: int
    match: int


class _ItchLayout(Layout[Message], Generic[Message]):
    """The layout of the bytes of an ITCH message. The third field, the time, has 48 bits.

    The module `struct` has no code for 48 bits.
    """

    def __init__(self, code: str, message: type[Message], body: str) -> None:
        super().__init__(code, message, "HH6s" + body)
        self._widths[2] = 0

    def encode(self, message: Message) -> bytes:
        time_ns = message[2]
        if not 0 <= time_ns < 1 << 48:
            raise WireError(f"{self.message.__name__}.time_ns: {time_ns} does not fit into 48 bits")
        raw: Any = (*message[:2], time_ns.to_bytes(6, "big"), *message[3:])
        return super().encode(raw)

    def decode(self, data: bytes) -> Message:
        values: Any = super().decode(data)
        make: Any = self.message
        decoded: Message = make(*values[:2], int.from_bytes(values[2], "big"), *values[3:])
        return decoded


FEED = Protocol(
    "ITCH 5.0",
    [
        _ItchLayout("S", SystemEvent, "1s"),
        _ItchLayout("R", StockDirectory, "8s1s1sI1s1s2s1s1s1s1s1sI1s"),
        _ItchLayout("H", TradingAction, "8s1s1s4s"),
        _ItchLayout("A", AddOrder, "Q1sI8sI"),
        _ItchLayout("F", AddOrderAttributed, "Q1sI8sI4s"),
        _ItchLayout("E", OrderExecuted, "QIQ"),
        _ItchLayout("C", OrderExecutedWithPrice, "QIQ1sI"),
        _ItchLayout("X", OrderCancel, "QI"),
        _ItchLayout("D", OrderDelete, "Q"),
        _ItchLayout("U", OrderReplace, "QQII"),
        _ItchLayout("P", Trade, "Q1sI8sIQ"),
        _ItchLayout("Q", CrossTrade, "Q8sIQ1s"),
        _ItchLayout("B", BrokenTrade, "Q"),
    ],
)


def split_log(data: bytes) -> Iterator[bytes]:
    """Yield the messages in the bytes of a log file, up to an incomplete message or a length of 0."""
    start, size = 0, len(data)
    while size - start >= 2:
        length = (data[start] << 8) | data[start + 1]
        end = start + 2 + length
        if length == 0 or end > size:
            return
        yield data[start + 2 : end]
        start = end
