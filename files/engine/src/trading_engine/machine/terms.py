"""The terms of an Enter Order: bytes 32 to 48 of the message, which follow token, side, shares, stock and price.

An account usually has only a few different terms. So each account keeps its terms, and they are checked only once.
"""

from __future__ import annotations

from typing import Final

from trading_engine.machine.encode import REJECT_CROSS, REJECT_DISPLAY, REJECT_FIRM, REJECT_MINIMUM, REJECT_OTHER
from trading_engine.wire import ouch

UNDECIDED: Final = 1  # a minimum quantity is given; it is valid if the order has at least as many shares
_LIVE: Final = b"L "  # the last two bytes of an Accepted: the state "live", and no BBO weight
_HIDDEN: Final = 78  # N
_NO_CROSS: Final = 78  # N
_DISPLAYED: Final = b"AYPL"
_POST_ONLY: Final = b"PL"
_ATTRIBUTED: Final = b"AL"
_CAPACITIES: Final = b"APRO "
_SWEEPS: Final = b"YNy "
_CUSTOMERS: Final = b"RN "


class Terms:
    """The terms of an order: time in force, firm, display, capacity, sweep, minimum quantity, cross, customer.

    If the message has no firm, `firm` is the account's first MPID. The reply Accepted contains the terms as `head` and
    `tail`, with the order's reference number between them. `refusal` is 0 for valid terms, UNDECIDED, or the letter of
    the reason to reject the order.
    """

    __slots__ = (
        "attributed",
        "firm",
        "head",
        "hidden",
        "immediate",
        "minimum_shares",
        "post_only",
        "raw",
        "refusal",
        "replacements",
        "tail",
        "time_in_force_s",
        "usual",
    )

    def __init__(self, raw: bytes, may_use_firm: bool) -> None:
        self.raw = raw
        self.head = raw[0:9]
        self.tail = raw[9:16] + _LIVE
        self.replacements: dict[bytes, Terms] = {}
        self.time_in_force_s = int.from_bytes(raw[0:4], "big")
        self.firm = raw[4:8]
        display, capacity, sweep = raw[8], raw[9], raw[10]
        self.minimum_shares = int.from_bytes(raw[11:15], "big")
        cross, customer = raw[15], raw[16]
        self.immediate = self.time_in_force_s == ouch.TIF_IOC
        self.hidden = display == _HIDDEN
        self.post_only = display in _POST_ONLY
        self.attributed = display in _ATTRIBUTED
        # Most orders rest until the end of the day, displayed and not attributed. They need a single test.
        self.usual = self.time_in_force_s >= ouch.TIF_MARKET_HOURS and not self.hidden and not self.attributed
        self.refusal = 0
        if not may_use_firm:
            self.refusal = REJECT_FIRM
        elif not self.hidden and display not in _DISPLAYED:
            self.refusal = REJECT_DISPLAY
        elif cross != _NO_CROSS:
            self.refusal = REJECT_CROSS
        elif self.minimum_shares and not (self.immediate or self.hidden):
            self.refusal = REJECT_MINIMUM
        elif (
            self.time_in_force_s > ouch.TIF_SYSTEM_HOURS
            or capacity not in _CAPACITIES
            or sweep not in _SWEEPS
            or customer not in _CUSTOMERS
        ):
            self.refusal = REJECT_OTHER
        elif self.minimum_shares:
            self.refusal = UNDECIDED
