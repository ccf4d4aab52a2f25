"""The orders of a run, as the bytes to send.

A run consists of slots, each of which is one Enter Order. Four slots form a cycle, after which the book is as before:

    0  sell at the price: rests in the book
    1  buy at the price, immediate or cancel: is executed against the order of slot 0
    2  buy, one tick below the price: rests in the book
    3  sell, one tick above the price, immediate or cancel: is cancelled; then a Cancel of the order of slot 2

So a run measures the matching, the resting and the cancelling of orders, and all usual replies.
"""

from dataclasses import dataclass

from trading_engine.host.runs import RUN_DIGITS, run_prefix
from trading_engine.wire import ouch, soupbintcp

SHARES = 100
TICK_E4 = 100
SLOTS_PER_CYCLE = 4
RESTING = (0, 2)  # the slots of a cycle whose orders rest in the book, so that market data shows them
SLOT_DIGITS = ouch.TOKEN_BYTES - RUN_DIGITS
MAX_SLOTS = 10**SLOT_DIGITS
_TOKEN_PLACE = "?" * ouch.TOKEN_BYTES


@dataclass(frozen=True)
class Template:
    """The bytes of a SoupBinTCP packet with an OUCH message, before and after the message's token."""

    before: bytes
    after: bytes

    @classmethod
    def of(cls, message: ouch.EnterOrder | ouch.CancelOrder) -> "Template":
        before, after = soupbintcp.unsequenced(ouch.INBOUND.encode(message)).split(_TOKEN_PLACE.encode("ascii"))
        return cls(before, after)


class Flow:
    """The packets of a run, for one symbol and price.

    The token of an order is `prefix`, followed by the slot's number in 7 digits.
    """

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
        """Return the packets of a slot: an Enter Order and, in the last slot of a cycle of four, also a Cancel."""
        position = slot % SLOTS_PER_CYCLE
        template = self._templates[position]
        frame = b"%b%b%07d%b" % (template.before, self.prefix, slot, template.after)
        return frame + self.cancel(slot - 1) if position == SLOTS_PER_CYCLE - 1 else frame

    def cancel(self, slot: int) -> bytes:
        """Return the packet that cancels all open shares of the slot's order."""
        return b"%b%b%07d%b" % (self._cancel.before, self.prefix, slot, self._cancel.after)
