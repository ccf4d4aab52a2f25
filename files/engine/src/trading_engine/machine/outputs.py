"""The outputs of the matching core: replies to accounts, and market data.

The engine takes the outputs at the end of a turn of its event loop. Until then the replies are in the list `out` of
each account, and the market data is in the list `feed`. `touched` lists the accounts that have replies. The time in
each message is that of the input that caused it.
"""

from __future__ import annotations

from typing import Final

from trading_engine.machine import risk
from trading_engine.machine.book import Book, Order, Owner
from trading_engine.machine.encode import (
    ACCEPTED_HEAD,
    BUY,
    CANCELED_HEAD,
    FEED_DIRECTORY_HEAD,
    FEED_EVENT_HEAD,
    FEED_TRADING_ACTION_HEAD,
    PACK_CANCELED,
    PACK_FEED_ORDER,
    PACK_U32,
    PACK_U64,
    REJECTED_HEAD,
    SELL,
    SYSTEM_EVENT_HEAD,
)

_ROUND_LOT_SHARES: Final = 100
_NO_PLACE: Final = bytes(4)  # stock locate and tracking number of messages without a symbol


class Outputs:
    """The outputs that the engine has not taken yet, and counters of all outputs."""

    def __init__(self) -> None:
        self.touched: list[Owner] = []
        self.feed: list[bytes] = []
        self.feed_sequence = 0
        self.canceled = 0
        self.rejects = [0] * 128
        self.refusals = [0] * len(risk.REFUSALS)
        self._time_ns = 0
        self._time8 = bytes(8)
        self._time6 = bytes(6)
        self._accepted_head = b""

    def discard_outputs(self) -> None:
        """Drop all outputs that the engine has not taken. A replay does this when it does not need them."""
        for account in self.touched:
            account.out.clear()
            account.touched = False
            account.taken = account.sequence
        self.touched.clear()
        self.feed.clear()

    def _send(self, account: Owner, packet: bytes) -> None:
        account.out.append(packet)
        account.sequence += 1
        if not account.touched:
            account.touched = True
            self.touched.append(account)

    def _feed(self, message: bytes) -> None:
        self.feed.append(message)
        self.feed_sequence += 1

    def _feed_add(self, order: Order) -> None:
        book = order.book
        side = BUY if order.side == BUY else SELL
        body = PACK_FEED_ORDER(order.reference, side, order.open_shares, book.stock, order.price_e4)
        if order.terms.attributed:
            self.feed.append(book.attributed_head + self._time6 + body + order.terms.firm)
        else:
            self.feed.append(book.add_head + self._time6 + body)

    def _canceled(self, account: Owner, token: bytes, shares: int, reason: bytes) -> None:
        self.canceled += 1
        account.out.append(CANCELED_HEAD + self._time8 + PACK_CANCELED(token, shares, reason))
        account.sequence += 1
        if not account.touched:
            account.touched = True
            self.touched.append(account)

    def _reject(self, account: Owner, token: bytes, letter: int, detail: int) -> None:
        self.rejects[letter] += 1
        self.refusals[detail] += 1
        self._send(account, REJECTED_HEAD + self._time8 + token + bytes((letter,)))

    def _system_event(self, account: Owner, event: bytes) -> None:
        self._send(account, SYSTEM_EVENT_HEAD + self._time8 + event)

    def _feed_event(self, event: bytes) -> None:
        self._feed(FEED_EVENT_HEAD + _NO_PLACE + self._time6 + event)

    def _announce(self, book: Book) -> None:
        place = book.locate.to_bytes(2, "big") + b"\0\0"
        lot_shares = book.lot_shares
        lots = PACK_U32(_ROUND_LOT_SHARES) + b"N" if lot_shares == 1 else PACK_U32(lot_shares) + b"Y"
        listing = b"Q " + lots + b"CZ P  1N" + PACK_U32(0) + b"N"
        self._feed(FEED_DIRECTORY_HEAD + place + self._time6 + book.stock + listing)
        self._trading_action(book)

    def _trading_action(self, book: Book) -> None:
        place = book.locate.to_bytes(2, "big") + b"\0\0"
        state = b"H" if book.halted else b"T"
        self._feed(FEED_TRADING_ACTION_HEAD + place + self._time6 + book.stock + state + b" " + b"    ")

    def _set_time(self, time_ns: int) -> None:
        self._time_ns = time_ns
        self._time8 = time8 = PACK_U64(time_ns)
        self._time6 = time8[2:]
        self._accepted_head = ACCEPTED_HEAD + time8
