"""Random order flow against a market whose correctness can be seen, and against a book rebuilt from market data."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from trading_engine.wire import itch, ouch

from tests.unit.engine.market import Market
from tests.unit.engine.reference_book import ReferenceBook

PRICES = st.integers(9_990, 10_010).map(lambda cents: cents * 100)
SHARES = st.integers(1, 300)
MINIMUMS = st.one_of(st.just(0), st.integers(1, 300))  # for those that may have one
OWNERS = st.sampled_from("AB")
NUMBERS = st.integers(0, 40)
FLOW = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), OWNERS, st.booleans(), SHARES, PRICES, st.booleans(), st.booleans(), MINIMUMS),
        st.tuples(st.just("cancel"), OWNERS, NUMBERS, st.integers(0, 300)),
        st.tuples(st.just("replace"), OWNERS, NUMBERS, SHARES, PRICES, st.booleans(), MINIMUMS),
    ),
    max_size=60,
)


class FeedBook:
    """What somebody who only reads market data believes the book to be."""

    def __init__(self) -> None:
        self.orders: dict[int, list[Any]] = {}

    def apply(self, message: Any) -> None:
        match message:
            case itch.AddOrder() | itch.AddOrderAttributed():
                self.orders[message.reference] = [message.side == "B", message.shares, message.price_e4]
            case itch.OrderExecuted() | itch.OrderCancel():
                taken = message.shares if isinstance(message, itch.OrderExecuted) else message.canceled_shares
                self.orders[message.reference][1] -= taken
                if self.orders[message.reference][1] == 0:
                    del self.orders[message.reference]
            case itch.OrderDelete():
                del self.orders[message.reference]
            case itch.OrderReplace():
                buys = self.orders.pop(message.reference)[0]
                self.orders[message.new_reference] = [buys, message.shares, message.price_e4]

    def depth(self, buys: bool) -> list[tuple[int, int]]:
        levels: dict[int, int] = {}
        for order_buys, shares, price_e4 in self.orders.values():
            if order_buys == buys:
                levels[price_e4] = levels.get(price_e4, 0) + shares
        return sorted(levels.items(), reverse=buys)


def merged(levels: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return levels with displayed and hidden shares of one price together, in their order."""
    sums: dict[int, int] = {}
    for price_e4, shares in levels:
        sums[price_e4] = sums.get(price_e4, 0) + shares
    return list(sums.items())


@settings(max_examples=120, deadline=None)
@given(FLOW)
def test_any_flow_trades_and_rests_as_in_the_plain_market(flow: list[tuple[Any, ...]]) -> None:
    market, plain, seen = Market(), ReferenceBook(), FeedBook()
    tokens: list[str] = []
    fills: list[tuple[str, str, int, int]] = []
    for step, (kind, owner, *rest) in enumerate(flow):
        token = f"N{step:03d}"
        if kind == "enter":
            buys, shares, price_e4, hidden, immediate, minimum = rest
            minimum = minimum if hidden or immediate else 0
            tokens.append(token)
            display, in_force = "N" if hidden else "Y", 0 if immediate else ouch.TIF_SYSTEM_HOURS
            side = "B" if buys else "S"
            market.send(
                owner,
                ouch.EnterOrder(
                    token, side, shares, "TEST", price_e4, in_force, display=display, minimum_shares=minimum
                ),
            )
            if minimum <= shares:
                plain.enter(owner, token, buys, shares, price_e4, hidden, immediate, minimum)
        elif not tokens:
            continue
        elif kind == "cancel":
            number, total = rest
            market.send(owner, ouch.CancelOrder(tokens[number % len(tokens)], total))
            plain.cancel(owner, tokens[number % len(tokens)], total)
        else:
            number, total, price_e4, hidden, minimum = rest
            minimum = minimum if hidden else 0
            old = tokens[number % len(tokens)]
            tokens.append(token)
            display = "N" if hidden else "Y"
            market.send(
                owner, ouch.ReplaceOrder(old, token, total, price_e4, display=display, minimum_shares=minimum)
            )  # fmt: skip
            plain.replace(owner, old, token, total, price_e4, hidden, minimum)
        executed = [
            reply for replies in market.replies.values() for reply in replies if isinstance(reply, ouch.Executed)
        ]
        takers = {reply.match: reply for reply in executed if reply.liquidity == "R"}
        makers = sorted((reply for reply in executed if reply.liquidity != "R"), key=lambda reply: reply.match)
        fills += [(maker.token, takers[maker.match].token, maker.shares, maker.price_e4) for maker in makers]
        for message in market.feed:
            seen.apply(message)
        for side, buys in (("B", True), ("S", False)):
            assert merged(market.depth(side)) == plain.depth(buys)
            assert seen.depth(buys) == plain.depth(buys, hidden=False)
        bids, asks = seen.depth(True), seen.depth(False)
        assert not bids or not asks or bids[0][0] < asks[0][0], "crossed"
    assert fills == plain.fills
    live = sum(account.open_orders for account in market.core.by_number)
    assert live == len(plain.orders)
