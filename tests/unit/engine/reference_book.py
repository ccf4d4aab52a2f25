"""A market so simple that its correctness can be seen: one list of orders, searched and sorted for every message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PlainOrder:
    token: str
    owner: str
    buys: bool
    shares: int
    executed: int
    price_e4: int
    hidden: bool
    minimum: int
    arrival: int

    def accepts(self, shares: int) -> bool:
        """Whether so many shares reach its minimum, or all that it has open where that is less."""
        return shares >= min(self.minimum, self.shares)


class ReferenceBook:
    """One symbol. `fills` collects (maker token, taker token, shares, price) in order."""

    def __init__(self) -> None:
        self.orders: list[PlainOrder] = []
        self.fills: list[tuple[str, str, int, int]] = []
        self._arrivals = 0

    def enter(
        self, owner: str, token: str, buys: bool, shares: int, price_e4: int, hidden: bool, immediate: bool,
        minimum: int = 0, executed: int = 0,
    ) -> None:  # fmt: skip
        self._arrivals += 1
        order = PlainOrder(token, owner, buys, shares, executed, price_e4, hidden, minimum, self._arrivals)
        plan = self._plan(order)
        if order.accepts(sum(traded for _, traded in plan)):
            for maker, traded in plan:
                self.fills.append((maker.token, token, traded, maker.price_e4))
                for side in (order, maker):
                    side.shares -= traded
                    side.executed += traded
                if maker.shares == 0:
                    self.orders.remove(maker)
        if order.shares and not immediate:
            self.orders.append(order)

    def _plan(self, order: PlainOrder) -> list[tuple[PlainOrder, int]]:
        """Return what the order would trade with whom, if its own minimum did not matter."""
        sign = 1 if order.buys else -1
        contras = [
            other
            for other in self.orders
            if other.buys != order.buys and sign * other.price_e4 <= sign * order.price_e4
        ]
        contras.sort(key=lambda other: (sign * other.price_e4, other.hidden, other.arrival))
        plan = []
        left = order.shares
        for other in contras:
            if left and other.accepts(left):
                traded = min(left, other.shares)
                plan.append((other, traded))
                left -= traded
        return plan

    def find(self, owner: str, token: str) -> PlainOrder | None:
        return next((order for order in self.orders if (order.owner, order.token) == (owner, token)), None)

    def cancel(self, owner: str, token: str, total: int) -> None:
        order = self.find(owner, token)
        if order is not None:
            order.shares = min(order.shares, max(0, total - order.executed))
            if order.shares == 0:
                self.orders.remove(order)

    def replace(
        self, owner: str, token: str, new_token: str, total: int, price_e4: int, hidden: bool, minimum: int = 0
    ) -> None:  # fmt: skip
        order = self.find(owner, token)
        if order is None:
            return
        self.orders.remove(order)
        if total > order.executed and minimum <= total:
            self.enter(
                owner, new_token, order.buys, total - order.executed, price_e4, hidden, False, minimum, order.executed
            )  # fmt: skip

    def depth(self, buys: bool, hidden: bool | None = None) -> list[tuple[int, int]]:
        """Return (price, shares) best first; only hidden or only displayed orders when asked."""
        levels: dict[int, int] = {}
        for order in self.orders:
            if order.buys == buys and hidden in (None, order.hidden):
                levels[order.price_e4] = levels.get(order.price_e4, 0) + order.shares
        return sorted(levels.items(), reverse=buys)
