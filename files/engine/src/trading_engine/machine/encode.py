"""The constants and functions with which the core decodes orders and encodes its outputs.

They are computed once from the layouts in `wire/`. For speed, the core does not use the layouts themselves.

A head is the constant start of a packet or of a message of market data. It has the length and the message's type
letter. In a packet it also has SoupBinTCP's type letter between the two. The functions PACK_… and UNPACK_… are methods
of `Struct` objects.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from trading_engine.wire import itch, ouch, soupbintcp
from trading_engine.wire.layout import Layout

# -- letters ----------------------------------------------------------------------------------------------------------
# These are literals because mypyc compiles literals into the code, and looks up other values at run time. A test
# compares them with the layouts.

BUY: Final = 66  # B; the other letters are kinds of sell orders
SELL: Final = 83  # S
SELL_SHORT: Final = 84  # T
SELL_SHORT_EXEMPT: Final = 69  # E

# The reasons of a Rejected (wire.ouch.REJECT_REASONS).
REJECT_KILLED: Final = 97  # a
REJECT_RESTRICTED: Final = 99  # c
REJECT_CLOSED: Final = 67  # C
REJECT_DISPLAY: Final = 68  # D
REJECT_FIRM: Final = 76  # L
REJECT_HALTED: Final = 72  # H
REJECT_TOO_MANY_SHARES: Final = 109  # m
REJECT_MINIMUM: Final = 78  # N
REJECT_TOO_MUCH_NOTIONAL: Final = 110  # n
REJECT_OTHER: Final = 79  # O
REJECT_CROSS: Final = 82  # R
REJECT_SYMBOL: Final = 83  # S
REJECT_PRICE: Final = 88  # X
REJECT_SHARES: Final = 90  # Z

# The reasons of a Canceled (OUCH 4.2).
BY_USER: Final = b"U"
BY_DAYS_END: Final = b"E"
BY_EXPIRY: Final = b"T"
BY_SUPERVISOR: Final = b"S"
IMMEDIATE_OR_CANCEL: Final = b"I"
POST_ONLY: Final = b"F"
SELF_MATCH: Final = b"Q"

# -- heads ------------------------------------------------------------------------------------------------------------


def _packet_head(kind: int, layout: Layout[Any]) -> bytes:
    return (layout.size_bytes + 1).to_bytes(2, "big") + bytes((kind, ord(layout.code)))


def _reply_head(letter: str) -> bytes:
    return _packet_head(soupbintcp.SEQUENCED, _REPLIES[ord(letter)])


def _order_head(letter: str) -> bytes:
    return _packet_head(soupbintcp.UNSEQUENCED, _ORDERS[ord(letter)])


def _feed_head(letter: str) -> bytes:
    layout = _MARKET_DATA[ord(letter)]
    return layout.size_bytes.to_bytes(2, "big") + layout.code.encode("ascii")


_ORDERS: Final = ouch.INBOUND.by_code
_REPLIES: Final = ouch.OUTBOUND.by_code
_MARKET_DATA: Final = itch.FEED.by_code

ENTER_HEAD: Final = _order_head("O")
REPLACE_HEAD: Final = _order_head("U")
CANCEL_HEAD: Final = _order_head("X")
ENTER_BYTES: Final = 52  # the length of the whole packet; a literal for the same reason as the letters above
REPLACE_BYTES: Final = 50
CANCEL_BYTES: Final = 22
MODIFY_BYTES: Final = 23
TRADE_NOW_BYTES: Final = 18

ACCEPTED_HEAD: Final = _reply_head("A")
BROKEN_HEAD: Final = _reply_head("B")
CANCELED_HEAD: Final = _reply_head("C")
EXECUTED_HEAD: Final = _reply_head("E")
MODIFIED_HEAD: Final = _reply_head("M")
REJECTED_HEAD: Final = _reply_head("J")
REPLACED_HEAD: Final = _reply_head("U")
SYSTEM_EVENT_HEAD: Final = _reply_head("S")

FEED_ADD_HEAD: Final = _feed_head("A")
FEED_ATTRIBUTED_HEAD: Final = _feed_head("F")
FEED_BROKEN_HEAD: Final = _feed_head("B")
FEED_CANCEL_HEAD: Final = _feed_head("X")
FEED_DELETE_HEAD: Final = _feed_head("D")
FEED_DIRECTORY_HEAD: Final = _feed_head("R")
FEED_EVENT_HEAD: Final = _feed_head("S")
FEED_EXECUTED_HEAD: Final = _feed_head("E")
FEED_REPLACE_HEAD: Final = _feed_head("U")
FEED_TRADE_HEAD: Final = _feed_head("P")
FEED_TRADING_ACTION_HEAD: Final = _feed_head("H")

# -- fields after a head and, in outputs, after the time --------------------------------------------------------------


def _format(layout: Layout[Any], first: str, whole: tuple[tuple[str, str], ...] = ()) -> str:
    """Return the `struct` format for the fields of a layout from the field `first` on.

    Each pair in `whole` names the first and last of several fields that are read as one value of type bytes. The value
    of the field `side` is the number of its letter, because numbers are compared faster than bytes.
    """
    names = [field.name for field in layout.fields]
    ends = dict(whole)
    codes = []
    at = names.index(first)
    while at < len(names):
        name = names[at]
        if name in ends:
            until = names.index(ends[name])
            codes.append(f"{sum(field.size_bytes for field in layout.fields[at : until + 1])}s")
            at = until
        else:
            codes.append("B" if name == "side" else layout.codes[at])
        at += 1
    return "".join(codes)


_ENTER_TERMS: Final = (("time_in_force_s", "customer"),)
_REPLACE_TERMS: Final = (("time_in_force_s", "minimum_shares"),)
_REPLACED_TERMS: Final = (("time_in_force_s", "display"), ("capacity", "cross"))

UNPACK_ENTER: Final = Struct(">x" + _format(_ORDERS[ord("O")], "token", whole=_ENTER_TERMS)).unpack_from
UNPACK_REPLACE: Final = Struct(">x" + _format(_ORDERS[ord("U")], "token", whole=_REPLACE_TERMS)).unpack_from
UNPACK_CANCEL: Final = Struct(">x" + _format(_ORDERS[ord("X")], "token")).unpack_from
UNPACK_MODIFY: Final = Struct(">x" + _format(_ORDERS[ord("M")], "token")).unpack_from

PACK_CANCELED: Final = Struct(">" + _format(_REPLIES[ord("C")], "token")).pack
PACK_EXECUTED: Final = Struct(">" + _format(_REPLIES[ord("E")], "token")).pack
PACK_MODIFIED: Final = Struct(">" + _format(_REPLIES[ord("M")], "token")).pack
PACK_REPLACED: Final = Struct(">" + _format(_REPLIES[ord("U")], "token", whole=_REPLACED_TERMS)).pack

PACK_FEED_ORDER: Final = Struct(">" + _format(_MARKET_DATA[ord("A")], "reference")).pack
PACK_FEED_EXECUTED: Final = Struct(">" + _format(_MARKET_DATA[ord("E")], "reference")).pack
PACK_FEED_REPLACE: Final = Struct(">" + _format(_MARKET_DATA[ord("U")], "reference")).pack
PACK_FEED_TRADE: Final = Struct(">" + _format(_MARKET_DATA[ord("P")], "reference")).pack

PACK_U64: Final = Struct(">Q").pack
PACK_U32: Final = Struct(">I").pack
