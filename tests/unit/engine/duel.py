"""Sends the same messages to the engine's core and to the reference market, and compares their effects.

The reference market is a simple program with the same rules. After each message, both must have sent the same replies
to every account. Their displayed books and their hidden books must be equal. The book that a subscriber derives from
market data alone must equal the displayed book.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from trading_engine.machine.core import Core
from trading_engine.storage import snapshot
from trading_engine.wire import itch, ouch

from tests.unit.engine.market import Market, account_settings
from tests.unit.engine.reference_market import ReferenceMarket, Told, told_of

STOCKS = ("CENTS", "TICKS", "LOTS", "PENNY")
FIRMS = {"A": "ONE", "B": "ONE", "C": "TWO", "D": "TWO"}
MPIDS = {"ONE": ["AAAA", "BBB"], "TWO": ["GSCO"]}
POLICIES = {"A": "allow", "B": "cancel_resting", "C": "cancel_incoming", "D": "cancel_resting"}
WITHIN = {"A": "account", "B": "firm", "C": "firm", "D": "account"}
_MID_E4 = {"CENTS": 1_000_000, "TICKS": 500_000, "LOTS": 200_000, "PENNY": 9_998, "NONE": 1_000_000}
_RESTING = 24  # resting orders of a symbol: an order can meet several, and the slow reference market stays fast enough
_CONFIGURED_AFTER = 2_000  # messages
_SNAPSHOT_AFTER = 1_000
_COMPARED_AFTER = 100  # messages; then compare the books of all symbols


def settings(choice: int = 0) -> dict[str, Any]:
    """Return settings for the core with four accounts, two firms and four symbols.

    Each value of `choice` gives another variant of the ticks, lots, MPIDs and rules for tokens.
    """
    mpids = {**MPIDS, "ONE": (["AAAA", "BBB"], ["BBB"], ["CCCC", "AAAA"])[choice % 3]}
    accounts = {
        name: account_settings(
            firm=firm,
            mpids=mpids[firm],
            self_match=POLICIES[name],
            self_match_within=WITHIN[name],
            tokens="increasing" if name in ("D", "AB")[choice % 2] else "any",
        )
        for name, firm in FIRMS.items()
    }
    listed = {
        "CENTS": (0, 1),
        "PENNY": (0, 1),
        "TICKS": (500 * (1 + choice % 2), 1),
        "LOTS": (0, 10 * (1 + choice % 2)),
    }
    symbols = [
        {"name": name, "reference_price_e4": 1_000_000, "restricted": False, "tick_e4": tick_e4, "lot_shares": lot}
        for name, (tick_e4, lot) in listed.items()
    ]
    return {"accounts": accounts, "symbols": symbols}


class FeedBook:
    """Builds the books from market data, as a subscriber would."""

    def __init__(self) -> None:
        self.orders: dict[int, list[Any]] = {}
        self._of: dict[str, dict[int, list[Any]]] = {}

    def apply(self, message: Any) -> None:
        match message:
            case itch.AddOrder() | itch.AddOrderAttributed():
                self._add(message.reference, message.stock, message.side == "B", message.shares, message.price_e4)
            case itch.OrderExecuted() | itch.OrderCancel():
                taken = message.shares if isinstance(message, itch.OrderExecuted) else message.canceled_shares
                self.orders[message.reference][2] -= taken
                if self.orders[message.reference][2] == 0:
                    self._remove(message.reference)
            case itch.OrderDelete():
                self._remove(message.reference)
            case itch.OrderReplace():
                stock, buys, _, _ = self._remove(message.reference)
                self._add(message.new_reference, stock, buys, message.shares, message.price_e4)

    def depth(self, stock: str, buys: bool) -> list[tuple[int, int]]:
        levels: dict[int, int] = {}
        for _, order_buys, shares, price_e4 in self._of.get(stock, {}).values():
            if order_buys == buys:
                levels[price_e4] = levels.get(price_e4, 0) + shares
        return sorted(levels.items(), reverse=buys)

    def _add(self, reference: int, stock: str, buys: bool, shares: int, price_e4: int) -> None:
        order = [stock, buys, shares, price_e4]
        self.orders[reference] = self._of.setdefault(stock, {})[reference] = order

    def _remove(self, reference: int) -> list[Any]:
        order = self.orders.pop(reference)
        del self._of[order[0]][reference]
        return order


class Duel:
    """The engine's core and the reference market, which get the same messages.

    `market` contains the core, and the messages that the core sent after its last input.
    """

    def __init__(self) -> None:
        self.market = Market(settings())
        self.reference = ReferenceMarket(settings())
        self.seen = FeedBook()
        self.messages: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self._choice = 0

    def send(self, owner: str, message: tuple[Any, ...]) -> None:
        """Send the message to both markets. Raise AssertionError when its effects in the two markets differ."""
        order = self.reference.find(owner, message[0])
        self.market.send(owner, message)
        self.reference.told.clear()
        self.reference.send(owner, message)
        wanted: dict[str, list[Told]] = {}
        for account, told in self.reference.told:
            wanted.setdefault(account, []).append(told)
        found = {account: [told_of(reply) for reply in replies] for account, replies in self.market.replies.items()}
        assert found == wanted, (owner, message)
        self.messages[type(message).__name__] += 1
        for _, told in self.reference.told:
            self.answers[f"{told[0]} {told[-1]}" if told[0] in ("rejected", "canceled", "executed") else told[0]] += 1
        for told in self.market.feed:
            self.seen.apply(told)
            if isinstance(told, itch.AddOrderAttributed):
                assert told.attribution == wanted[owner][0][-2], told  # the firm in its Accepted or Replaced
            elif isinstance(told, itch.Trade):
                assert (told.side, told.reference) == ("B", 0)
        stock = order.stock if order else getattr(message, "stock", "")
        self.compare([stock] if stock in STOCKS else [], message)

    def compare(self, stocks: Sequence[str], message: object) -> None:
        for stock in stocks:
            wanted = self.reference.depths(stock)
            for (buys, hidden), levels in wanted.items():
                assert self.depth(stock, "B" if buys else "S", hidden) == levels, (stock, message)
            bids, asks = self.seen.depth(stock, True), self.seen.depth(stock, False)
            assert (bids, asks) == (wanted[True, False], wanted[False, False]), (stock, message)
            assert not bids or not asks or bids[0][0] < asks[0][0], ("crossed", stock, message)

    def depth(self, stock: str, side: str, hidden: bool) -> list[tuple[int, int]]:
        """Return the price levels of one side of a stock in the engine's book, best price first.

        `hidden` selects the hidden orders; otherwise the displayed orders count. Each level is a price and the sum of
        the shares of its orders.
        """
        levels = self.market.core.books[stock.encode().ljust(8)].side_of(ord(side))
        found = [levels.levels[key] for key in reversed(levels.keys)]
        return [(level.price_e4, level.shares) for level in found if level.hidden == hidden]

    def reconfigure(self) -> None:
        """Change ticks, lots, MPIDs and rules for tokens while orders rest in the book."""
        self._choice += 1
        changed = settings(self._choice)
        self.market.core.configure(changed, self.market.time_ns)
        self.market.core.discard_outputs()
        self.reference.configure(changed)

    def restart(self) -> None:
        """Replace the core by a new core that has loaded the snapshot of the old one."""
        fresh = Core()
        snapshot.load(fresh, snapshot.dump(self.market.core))
        assert snapshot.digest(fresh) == snapshot.digest(self.market.core)
        self.market.core = fresh


class Flow:
    """Makes random messages of every kind, some of them malformed. The same seed gives the same messages."""

    def __init__(self, seed: int) -> None:
        self._choose = random.Random(seed)  # noqa: S311  # repeatable, and no secret
        self._serial = 0
        self._tokens: dict[str, list[str]] = {name: [] for name in FIRMS}

    def next(self, reference: ReferenceMarket) -> tuple[str, tuple[Any, ...]]:
        """Return an account and the next message from this account.

        Most messages are about open orders. `reference` is the reference market, which knows these orders.
        """
        choose = self._choose
        owner = choose.choice("ABCD")
        kind = choose.random()
        if len(reference.orders) > _RESTING * len(STOCKS):
            kind = 0.6 + 0.4 * kind
        if kind < 0.6 or not self._tokens[owner]:
            return owner, self._enter(owner)
        live = [order.token for order in reference.orders if order.owner == owner]
        token = choose.choice(live if live and choose.random() < 0.9 else self._tokens[owner][-50:])
        order = reference.find(owner, token)
        shares = self._shares(order.stock) if order else 100
        if kind < 0.78:
            return owner, ouch.CancelOrder(token, choose.choice((0, 0, shares)))
        if kind < 0.82:
            return owner, ouch.ModifyOrder(token, choose.choice("BSSTE?"), shares)
        if order is None:
            return owner, ouch.ReplaceOrder(token, self._token(owner), shares, _MID_E4["CENTS"], **self._terms(0))
        price_e4, terms = self._price_e4(order.stock, order.side), self._terms(order.executed)
        return owner, ouch.ReplaceOrder(token, self._token(owner), shares + order.executed, price_e4, **terms)

    def _enter(self, owner: str) -> ouch.EnterOrder:
        choose = self._choose
        stock = "NONE" if choose.random() < 0.01 else choose.choice(STOCKS)
        firm = ""
        if choose.random() < 0.4:
            known = ("AAAA", "BBB", "CCCC", "GSCO", "ZZZZ")
            firm = choose.choice(known if choose.random() < 0.1 else MPIDS[FIRMS[owner]])
        side = choose.choice("BBBSTE?" if choose.random() < 0.01 else "BBBSTE")
        return ouch.EnterOrder(
            self._token(owner), side, self._shares(stock), stock, self._price_e4(stock, side), firm=firm,
            cross="O" if choose.random() < 0.01 else "N", **self._terms(0),
        )  # fmt: skip

    def _terms(self, executed: int) -> dict[str, Any]:
        choose = self._choose
        display = choose.choice("YYYANNNPLM" if choose.random() < 0.05 else "YYYANNNPL")
        in_force = choose.choice((0, 5_000, 99_998, 99_999, 99_999))
        if choose.random() < 0.005:
            in_force = 100_000
        has_minimum = choose.random() < (0.6 if display == "N" or in_force == 0 else 0.02)
        minimum = choose.choice((1, 50, 100, 150, 200, 400)) + choose.choice((0, executed)) if has_minimum else 0
        return {"display": display, "time_in_force_s": in_force, "minimum_shares": minimum}

    def _token(self, owner: str) -> str:
        choose = self._choose
        if self._tokens[owner] and choose.random() < 0.01:
            return choose.choice(self._tokens[owner][-50:])
        if choose.random() < 0.005:
            return choose.choice(("a\tb", "\0", "\x7f", "zz\n"))
        self._serial += 1
        token = f"T{self._serial:09d}" if choose.random() < 0.5 else f"T{self._serial:013d}"
        token = f"{self._serial:08d}" + token if owner != "D" else f"N{self._serial:013d}"
        self._tokens[owner].append(token[:14])
        return token[:14]

    def _shares(self, stock: str) -> int:
        choose = self._choose
        if choose.random() < 0.005:
            return choose.choice((0, 999_999, 1_000_000, 3))
        return choose.randrange(1, 40) * (20 if stock == "LOTS" and choose.random() < 0.97 else 10)

    def _price_e4(self, stock: str, side: str) -> int:
        choose = self._choose
        if choose.random() < 0.005:
            return choose.choice((0, 1, ouch.MAX_PRICE_E4, ouch.MAX_PRICE_E4 + 100, ouch.MARKET_PRICE_E4))
        away = choose.randrange(-2, 6) * (-1 if side == "B" else 1)
        if stock == "PENNY":
            return _MID_E4[stock] + away
        step = {"TICKS": 1_000, "LOTS": 100}.get(stock, 100)
        if choose.random() < 0.03:
            step //= 2
        return _MID_E4[stock] + away * step


def run(seed: int, messages: int, after_each: Callable[[Duel], None] = lambda duel: None) -> Duel:
    """Send this number of random messages to both markets, and return the two markets as a `Duel`.

    Call `after_each` after each message. From time to time, change the configuration, or replace the core by a core
    that has loaded a snapshot.
    """
    duel, flow = Duel(), Flow(seed)
    for number in range(1, messages + 1):
        duel.send(*flow.next(duel.reference))
        after_each(duel)
        if number % _COMPARED_AFTER == 0:
            duel.compare(STOCKS, f"message {number}")
        if number % _CONFIGURED_AFTER == 0:
            duel.reconfigure()
        if number % _SNAPSHOT_AFTER == 0:
            duel.restart()
    return duel
