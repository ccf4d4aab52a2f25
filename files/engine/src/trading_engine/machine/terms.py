"""The terms of an Enter Order: its bytes 32 to 48, which follow token, side, shares, stock and price.

Most orders of an account repeat the same few combinations, so each combination is checked when it is first seen.
"""

from __future__ import annotations

from typing import Final

from trading_engine.machine.encode import REJECT_CROSS, REJECT_DISPLAY, REJECT_FIRM, REJECT_MINIMUM, REJECT_OTHER
from trading_engine.wire import ouch

UNDECIDED: Final = 1  # the order's shares decide whether the minimum can be met
_LIVE: Final = b"L "  # the order's state, and no weight at the best price
_HIDDEN: Final = 78  # N
_NO_CROSS: Final = 78  # N
_DISPLAYED: Final = b"AYPL"
_POST_ONLY: Final = b"PL"
_ATTRIBUTED: Final = b"AL"
_CAPACITIES: Final = b"APRO "
_SWEEPS: Final = b"YNy "
_CUSTOMERS: Final = b"RN "


class Terms:
    """Time in force, firm, display, capacity, sweep, minimum quantity, cross, customer.

    `firm` is the order's firm, also where its message left the field blank. An Accepted repeats the terms as `head` and
    `tail`, with the order's reference between them. `refusal` is 0, a letter, or UNDECIDED.
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
        # Rests for the day, displayed and not attributed.
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
