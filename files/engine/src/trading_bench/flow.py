"""The orders of a run: the bytes to send at slot `index`, and the slot of a reply's token.

A slot is one Enter Order. Four slots make a cycle that leaves the book as it was:

    0  sell, rests at the price
    1  buy, immediate or cancel, takes the sell of slot 0
    2  buy, rests one tick lower
    3  sell, immediate or cancel, one tick above the price (its rest comes back), and a Cancel of slot 2's order

so that matching, resting, cancelling and every usual reply are part of what is measured.
"""

from dataclasses import dataclass

from trading_engine.host.runs import RUN_DIGITS, run_prefix
from trading_engine.wire import ouch, soupbintcp

SHARES = 100
TICK_E4 = 100
SLOTS_PER_CYCLE = 4
RESTING = (0, 2)  # the cycle's orders that the market sees in the book
SLOT_DIGITS = ouch.TOKEN_BYTES - RUN_DIGITS
MAX_SLOTS = 10**SLOT_DIGITS
_TOKEN_PLACE = "?" * ouch.TOKEN_BYTES


@dataclass(frozen=True)
class Template:
    """A framed message without its token."""

    before: bytes
    after: bytes

    @classmethod
    def of(cls, message: ouch.EnterOrder | ouch.CancelOrder) -> "Template":
        before, after = soupbintcp.unsequenced(ouch.INBOUND.encode(message)).split(_TOKEN_PLACE.encode("ascii"))
        return cls(before, after)


class Flow:
    """Frames of a run on one symbol around one price; tokens are `prefix` and the slot's number in decimal."""

    def __init__(self, symbol: str, price_e4: int, prefix: bytes | None = None) -> None:
        self.prefix = run_prefix() if prefix is None else prefix
        rest, immediate = ouch.TIF_SYSTEM_HOURS, ouch.TIF_IOC
        plan = (
            ("S", price_e4, rest),
            ("B", price_e4, immediate),
            ("B", price_e4 - TICK_E4, rest),
            ("S", price_e4 + TICK_E4, immediate),
        )
        self._templates = [
            Template.of(ouch.EnterOrder(_TOKEN_PLACE, side, SHARES, symbol, order_price_e4, time_in_force_s))
            for side, order_price_e4, time_in_force_s in plan
        ]
        self._cancel = Template.of(ouch.CancelOrder(_TOKEN_PLACE))

    def frames(self, slot: int) -> bytes:
        """Return the bytes of this slot: the Enter, and the Cancel that closes a cycle."""
        position = slot % SLOTS_PER_CYCLE
        template = self._templates[position]
        frame = b"%b%b%07d%b" % (template.before, self.prefix, slot, template.after)
        return frame + self.cancel(slot - 1) if position == SLOTS_PER_CYCLE - 1 else frame

    def cancel(self, slot: int) -> bytes:
        """Return the framed Cancel of the open rest of the slot's order."""
        return b"%b%b%07d%b" % (self._cancel.before, self.prefix, slot, self._cancel.after)
