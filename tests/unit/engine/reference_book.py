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
    arrival: int


class ReferenceBook:
    """One symbol. `fills` collects (maker token, taker token, shares, price) in order."""

    def __init__(self) -> None:
        self.orders: list[PlainOrder] = []
        self.fills: list[tuple[str, str, int, int]] = []
        self._arrivals = 0

    def enter(
        self, owner: str, token: str, buys: bool, shares: int, price_e4: int, hidden: bool, immediate: bool,
        executed: int = 0,
    ) -> None:  # fmt: skip
        self._arrivals += 1
        order = PlainOrder(token, owner, buys, shares, executed, price_e4, hidden, self._arrivals)
        while order.shares:
            contras = [
                other
                for other in self.orders
                if other.buys != buys and (other.price_e4 <= price_e4 if buys else other.price_e4 >= price_e4)
            ]
            if not contras:
                break
            sign = 1 if buys else -1
            best = min(contras, key=lambda other: (sign * other.price_e4, other.hidden, other.arrival))
            traded = min(order.shares, best.shares)
            self.fills.append((best.token, token, traded, best.price_e4))
            for side in (order, best):
                side.shares -= traded
                side.executed += traded
            if best.shares == 0:
                self.orders.remove(best)
        if order.shares and not immediate:
            self.orders.append(order)

    def find(self, owner: str, token: str) -> PlainOrder | None:
        return next((order for order in self.orders if (order.owner, order.token) == (owner, token)), None)

    def cancel(self, owner: str, token: str, total: int) -> None:
        order = self.find(owner, token)
        if order is not None:
            order.shares = min(order.shares, max(0, total - order.executed))
            if order.shares == 0:
                self.orders.remove(order)

    def replace(self, owner: str, token: str, new_token: str, total: int, price_e4: int, hidden: bool) -> None:
        order = self.find(owner, token)
        if order is None:
            return
        self.orders.remove(order)
        if total > order.executed:
            self.enter(
                owner, new_token, order.buys, total - order.executed, price_e4, hidden, False, order.executed
            )  # fmt: skip

    def depth(self, buys: bool, hidden: bool | None = None) -> list[tuple[int, int]]:
        """Return (price, shares) best first; only hidden or only displayed orders when asked."""
        levels: dict[int, int] = {}
        for order in self.orders:
            if order.buys == buys and hidden in (None, order.hidden):
                levels[order.price_e4] = levels.get(order.price_e4, 0) + order.shares
        return sorted(levels.items(), reverse=buys)
