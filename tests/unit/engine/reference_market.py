"""A market with the engine's rules and the simplest possible code. Tests compare the engine with this market.

The market has one list of orders, which it searches and sorts for every message. Its replies are tuples of the type
`Told`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trading_engine.wire import ouch

Told = tuple[Any, ...]
"""A reply to one account: the kind of event, the order's token, and further values of the event."""
DOLLAR_E4 = 10_000
_BOTH = (False, True)


@dataclass
class PlainOrder:
    owner: str
    token: str
    side: str
    shares: int
    executed: int
    stock: str
    price_e4: int
    firm: str
    display: str
    immediate: bool
    minimum: int
    arrival: int

    @property
    def buys(self) -> bool:
        return self.side == "B"

    @property
    def hidden(self) -> bool:
        return self.display == "N"

    def accepts(self, shares: int) -> bool:
        """Return whether the order accepts a trade with this number of shares.

        The shares must be at least the order's minimum. When the order has fewer open shares, they must be all of
        these.
        """
        return shares >= min(self.minimum, self.shares)


class ReferenceMarket:
    """A market with the accounts and symbols of the settings for the core.

    `told` is a list of replies, in order. Each entry is the account that gets the reply, and the reply.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.orders: list[PlainOrder] = []
        self.told: list[tuple[str, Told]] = []
        self._used: set[tuple[str, str]] = set()
        self._last: dict[str, bytes] = {}
        self._arrivals = 0
        self._accounts: dict[str, Any] = {}
        self.configure(settings)

    def configure(self, settings: dict[str, Any]) -> None:
        for name, account in settings["accounts"].items():
            if account["tokens"] == "any" and self._accounts.get(name, account)["tokens"] == "increasing":
                self._used = {used for used in self._used if used[0] != name or self.find(*used)}
        self._accounts = settings["accounts"]
        self._symbols = {symbol["name"]: symbol for symbol in settings["symbols"]}

    def send(self, owner: str, message: tuple[Any, ...]) -> None:
        match message:
            case ouch.EnterOrder():
                self._enter(owner, message)
            case ouch.ReplaceOrder():
                self._replace(owner, message)
            case ouch.CancelOrder():
                self._cancel(owner, message)
            case ouch.ModifyOrder():
                self._modify(owner, message)

    def depths(self, stock: str) -> dict[tuple[bool, bool], list[tuple[int, int]]]:
        """Return the price levels of a stock by kind of order, best price first.

        Each level is its price and the sum of the shares of its orders. A key has two values: whether the orders buy,
        and whether they are hidden.
        """
        found: dict[tuple[bool, bool], dict[int, int]] = {(buys, hidden): {} for buys in _BOTH for hidden in _BOTH}
        for order in self.orders:
            if order.stock == stock:
                levels = found[order.side == "B", order.display == "N"]
                levels[order.price_e4] = levels.get(order.price_e4, 0) + order.shares
        return {kind: sorted(levels.items(), reverse=kind[0]) for kind, levels in found.items()}

    # -- messages ---------------------------------------------------------------------------------------------------

    def _enter(self, owner: str, message: ouch.EnterOrder) -> None:
        if self._is_used(owner, message.token):
            return
        if not _is_text(message.token):
            self._tell(owner, "rejected", message.token, "O")
            return
        self._use(owner, message.token)
        firm = message.firm or self._accounts[owner]["mpids"][0]
        refusal = self._refusal(owner, message, firm)
        if refusal:
            self._tell(owner, "rejected", message.token, refusal)
            return
        self._tell(owner, "accepted", message.token, message.shares, message.price_e4, firm, message.display)
        self._go(owner, message.token, message.side, message.shares, 0, message.stock, firm, message)

    def _refusal(self, owner: str, message: ouch.EnterOrder, firm: str) -> str:
        if message.stock not in self._symbols:
            return "S"
        fits = not self._is_off(message.stock, message.price_e4)
        if message.shares % self._symbols[message.stock]["lot_shares"]:
            fits = False
        elif not 0 < message.shares <= ouch.MAX_SHARES:
            return "Z"
        terms = self._wrong_terms(owner, message, firm)
        if not fits:
            return "R" if terms == "R" else "X"
        return terms or ("" if message.side in ("B", "S", "T", "E") else "O")

    def _is_off(self, stock: str, price_e4: int) -> bool:
        """Return whether the price is out of range or not a multiple of the tick."""
        tick_e4 = self._symbols[stock]["tick_e4"] or (100 if price_e4 >= DOLLAR_E4 else 1)
        return not 0 < price_e4 <= ouch.MAX_PRICE_E4 or price_e4 % tick_e4 != 0

    def _wrong_terms(self, owner: str, message: ouch.EnterOrder | ouch.ReplaceOrder, firm: str) -> str:
        if firm not in self._accounts[owner]["mpids"]:
            return "L"
        if message.display not in ("Y", "A", "N", "P", "L"):
            return "D"
        if isinstance(message, ouch.EnterOrder) and message.cross != "N":
            return "R"
        if message.minimum_shares and message.display != "N" and message.time_in_force_s != ouch.TIF_IOC:
            return "N"
        if message.time_in_force_s > ouch.TIF_SYSTEM_HOURS:
            return "O"
        return "N" if message.minimum_shares > message.shares else ""

    def _replace(self, owner: str, message: ouch.ReplaceOrder) -> None:
        old = self.find(owner, message.token)
        if old is None or message.new_token == message.token or self._is_used(owner, message.new_token):
            return
        wrong = (
            self._wrong_terms(owner, message, old.firm)
            or not old.executed < message.shares <= ouch.MAX_SHARES
            or message.shares % self._symbols[old.stock]["lot_shares"]
            or self._is_off(old.stock, message.price_e4)
            or not _is_text(message.new_token)
        )
        if wrong:
            self._end(old, "U")
            return
        self.orders.remove(old)
        self._use(owner, message.new_token)
        left = message.shares - old.executed
        self._tell(
            owner, "replaced", message.new_token, old.token, left, message.price_e4, old.firm, message.display
        )  # fmt: skip
        self._go(owner, message.new_token, old.side, left, old.executed, old.stock, old.firm, message)

    def _cancel(self, owner: str, message: ouch.CancelOrder) -> None:
        order = self.find(owner, message.token)
        if order is None:
            return
        if message.shares <= order.executed:
            self._end(order, "U")
        elif message.shares % self._symbols[order.stock]["lot_shares"] == 0:
            less = order.executed + order.shares - message.shares
            if less > 0:
                order.shares -= less
                self._tell(owner, "canceled", order.token, less, "U")

    def _modify(self, owner: str, message: ouch.ModifyOrder) -> None:
        order = self.find(owner, message.token)
        if order is None or message.shares > order.executed + order.shares:
            return
        if message.side != order.side and (order.buys or message.side not in ("S", "T", "E")):
            return
        if message.shares <= order.executed:
            self._end(order, "U")
        elif message.shares % self._symbols[order.stock]["lot_shares"] == 0:
            order.side = message.side
            order.shares = message.shares - order.executed
            self._tell(owner, "modified", order.token, order.side, message.shares)

    # -- matching ---------------------------------------------------------------------------------------------------

    def _go(
        self, owner: str, token: str, side: str, shares: int, executed: int, stock: str, firm: str,
        message: ouch.EnterOrder | ouch.ReplaceOrder,
    ) -> None:  # fmt: skip
        """Match an order with the open orders. Then let its remaining shares rest, or cancel them."""
        self._arrivals += 1
        immediate = message.time_in_force_s == ouch.TIF_IOC
        order = PlainOrder(
            owner, token, side, shares, executed, stock, message.price_e4, firm, message.display, immediate,
            message.minimum_shares, self._arrivals,
        )  # fmt: skip
        contras = self._contras(order)
        if contras and message.display in ("P", "L"):
            self._tell(owner, "canceled", token, shares, "F")
            return
        plan, meets_itself = self._plan(order, contras)
        if order.accepts(sum(traded for _, traded in plan)):
            for maker, traded in plan:
                if traded == 0:
                    self._end(maker, "Q")
                else:
                    self._trade(order, maker, traded)
            if meets_itself:
                self._tell(owner, "canceled", token, order.shares, "Q")
                return
        if order.shares and immediate:
            self._tell(owner, "canceled", token, order.shares, "I")
        elif order.shares:
            self.orders.append(order)

    def _contras(self, order: PlainOrder) -> list[PlainOrder]:
        """Return the orders that this order can match, in the order of matching.

        They are on the other side of the book, at this order's price or a better one.
        """
        sign = 1 if order.buys else -1
        contras = [
            other
            for other in self.orders
            if other.stock == order.stock
            and other.buys != order.buys
            and sign * other.price_e4 <= sign * order.price_e4
        ]
        return sorted(contras, key=lambda other: (sign * other.price_e4, other.hidden, other.arrival))

    def _plan(self, order: PlainOrder, contras: list[PlainOrder]) -> tuple[list[tuple[PlainOrder, int]], bool]:
        """Return the order's trades, and whether self-match prevention then cancels its remaining shares.

        The order's own minimum is not considered here. A trade with 0 shares means that self-match prevention cancels
        the resting order.
        """
        policy = self._accounts[order.owner]["self_match"]
        plan: list[tuple[PlainOrder, int]] = []
        left = order.shares
        for other in contras:
            if left == 0:
                break
            if policy != "allow" and self._is_own(order.owner, other.owner):
                if policy == "cancel_incoming":
                    return plan, True
                plan.append((other, 0))
            elif other.accepts(left):
                traded = min(left, other.shares)
                plan.append((other, traded))
                left -= traded
        return plan, False

    def _is_own(self, owner: str, other: str) -> bool:
        one, two = self._accounts[owner], self._accounts[other]
        return owner == other or (one["self_match_within"] == "firm" and one["firm"] == two["firm"])

    def _trade(self, order: PlainOrder, maker: PlainOrder, shares: int) -> None:
        self._tell(order.owner, "executed", order.token, shares, maker.price_e4, "R")
        self._tell(maker.owner, "executed", maker.token, shares, maker.price_e4, "J" if maker.hidden else "A")
        for party in (order, maker):
            party.shares -= shares
            party.executed += shares
        if maker.shares == 0:
            self.orders.remove(maker)

    def _end(self, order: PlainOrder, reason: str) -> None:
        self.orders.remove(order)
        self._tell(order.owner, "canceled", order.token, order.shares, reason)

    def _is_used(self, owner: str, token: str) -> bool:
        if self._accounts[owner]["tokens"] == "increasing":
            return token.encode("latin-1").ljust(14) <= self._last.get(owner, b"")
        return (owner, token) in self._used

    def _use(self, owner: str, token: str) -> None:
        self._used.add((owner, token))
        self._last[owner] = max(self._last.get(owner, b""), token.encode("latin-1").ljust(14))

    def find(self, owner: str, token: str) -> PlainOrder | None:
        return next((order for order in self.orders if (order.owner, order.token) == (owner, token)), None)

    def _tell(self, account: str, *what: Any) -> None:
        self.told.append((account, what))


def told_of(reply: Any) -> Told | None:
    """Return a reply of the engine in the form of the reference market's replies.

    Return None for a reply that the reference market does not have.
    """
    match reply:
        case ouch.Accepted():
            return "accepted", reply.token, reply.shares, reply.price_e4, reply.firm, reply.display
        case ouch.Replaced():
            previous = reply.previous_token
            return "replaced", reply.token, previous, reply.shares, reply.price_e4, reply.firm, reply.display
        case ouch.Rejected():
            return "rejected", reply.token, reply.reason
        case ouch.Executed():
            return "executed", reply.token, reply.shares, reply.price_e4, reply.liquidity
        case ouch.Canceled():
            return "canceled", reply.token, reply.decrement_shares, reply.reason
        case ouch.OrderModified():
            return "modified", reply.token, reply.side, reply.shares
    return None


def _is_text(token: str) -> bool:
    return not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in token)
