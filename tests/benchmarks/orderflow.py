"""Makes the messages that benchmarks send to the engine.

Half of the messages are Enters, and a third are Cancels. The rest are Replaces. 30 % of the Enters are marketable.
Resting orders are large and marketable orders are small, so the number of resting orders stays about the same.
"""

from __future__ import annotations

import random
from typing import Any

from trading_engine.machine.core import Core
from trading_engine.wire import ouch, soupbintcp

MID_E4 = 1_000_000
TICK_E4 = 10
_LIMITS = {
    "max_order_shares": 100_000,
    "max_order_notional": 100_000_000,
    "collar_percent": 10,
    "max_open_orders": 0,
    "max_exposure": 0,
    "max_orders_per_second": 0,
    "duplicate_orders": 0,
    "duplicate_window_ms": 0,
}


def settings(symbols: int = 100, accounts: int = 1, tokens: str = "any") -> dict[str, Any]:
    """Return settings for the engine's core with accounts B0, B1, … and symbols S0, S1, …

    `tokens` is the rule for tokens. With "any", an account may enter a million orders a day. With "increasing" there is
    no such limit.
    """
    account = {
        "test": True,
        "tokens": tokens,
        "self_match": "allow",
        "cancel_on_disconnect": False,
        "limits": _LIMITS,
    }
    return {
        "accounts": {f"B{number}": account for number in range(accounts)},
        "symbols": [
            {"name": f"S{number}", "reference_price_e4": MID_E4, "restricted": False, "tick_e4": TICK_E4}
            for number in range(symbols)
        ],
    }


def open_core(symbols: int = 100, accounts: int = 1) -> Core:
    core = Core()
    core.configure(settings(symbols, accounts), 1)
    core.start_day("2026010500", 2)
    core.discard_outputs()
    return core


class Flow:
    """Makes messages as frames of the protocol. `alive` has the token and the side of each resting order.

    An order that was executed meanwhile also stays in `alive`.
    """

    def __init__(self, seed: int = 1, symbols: int = 100, levels: int = 50) -> None:
        self._choose = random.Random(seed)  # noqa: S311  # repeatable, and no secret
        self._symbols = [f"S{number}" for number in range(symbols)]
        self._levels = levels
        self._serial = 0
        self.alive: list[tuple[str, str]] = []

    def _token(self) -> str:
        self._serial += 1
        return f"T{self._serial:013d}"

    def _price_e4(self, side: str) -> int:
        distance = self._choose.randrange(1, self._levels + 1) * TICK_E4
        return MID_E4 + (distance if side == "S" else -distance)

    def rest(self) -> bytes:
        """Return an Enter message for an order that will rest."""
        token, side = self._token(), self._choose.choice("BS")
        self.alive.append((token, side))
        stock = self._choose.choice(self._symbols)
        return frame(ouch.EnterOrder(token, side, 1000, stock, self._price_e4(side)))

    def take(self) -> bytes:
        """Return an Enter message for a marketable order. It has a tenth of the shares of a resting order."""
        side = self._choose.choice("BS")
        price_e4 = MID_E4 + (50_000 if side == "B" else -50_000)
        return frame(
            ouch.EnterOrder(self._token(), side, 100, self._choose.choice(self._symbols), price_e4, ouch.TIF_IOC)
        )  # fmt: skip

    def mixed(self) -> bytes:
        """Return the next message, of a random kind."""
        kind = self._choose.random()
        if kind < 0.35 or not self.alive:
            return self.rest()
        if kind < 0.50:
            return self.take()
        position = self._choose.randrange(len(self.alive))
        token, side = self.alive[position]
        if kind < 0.83:
            self.alive[position] = self.alive[-1]
            self.alive.pop()
            return frame(ouch.CancelOrder(token, 0))
        new = self._token()
        self.alive[position] = (new, side)
        return frame(ouch.ReplaceOrder(token, new, 1000, self._price_e4(side)))


def batches(core: Core, frames: list[bytes], size: int) -> list[tuple[bytes, int]]:
    """Apply the frames to the core in batches of `size` frames.

    Return for each batch its bytes and the length of its answer.
    """
    made = []
    for start in range(0, len(frames), size):
        data = b"".join(frames[start : start + size])
        core.apply(0, data, 1_000)
        made.append((data, sum(map(len, core.by_number[0].out))))
        core.discard_outputs()
    return made


def frame(message: tuple[Any, ...]) -> bytes:
    return soupbintcp.unsequenced(ouch.INBOUND.encode(message))
