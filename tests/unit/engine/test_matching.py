"""The engine's rules of matching. The tests check the replies to clients and the market data after each message."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from trading_engine.machine.terms import Terms
from trading_engine.wire import itch, ouch

from tests.unit.engine.market import Market, kinds, settings_of

DOLLAR_E4 = 10_000
PAR = 100 * DOLLAR_E4


def test_a_resting_order_is_accepted_and_shown() -> None:
    market = Market()
    market.enter("A", "B", 300, PAR, token="one")
    (accepted,) = market.replies["A"]
    assert accepted.token == "one"
    assert (accepted.shares, accepted.price_e4, accepted.state) == (300, PAR, "L")
    (add,) = market.feed
    assert isinstance(add, itch.AddOrder)
    assert (add.reference, add.side, add.shares, add.price_e4) == (accepted.reference, "B", 300, PAR)


def test_price_goes_before_time_and_time_before_later() -> None:
    market = Market()
    worse = market.enter("A", "S", 100, PAR + 200)
    first = market.enter("A", "S", 100, PAR)
    second = market.enter("A", "S", 100, PAR)
    market.enter("B", "B", 250, PAR + 200)
    fills = [(fill.token, fill.shares, fill.price_e4) for fill in market.replies["A"]]
    assert fills == [(first, 100, PAR), (second, 100, PAR), (worse, 50, PAR + 200)]


def test_displayed_goes_before_hidden_at_the_same_price() -> None:
    market = Market()
    hidden = market.enter("A", "S", 100, PAR, display="N")
    shown = market.enter("A", "S", 100, PAR)
    market.enter("B", "B", 150, PAR)
    assert [fill.token for fill in market.replies["A"]] == [shown, hidden]
    assert kinds(market.feed) == ["OrderExecuted", "Trade"]
    assert market.feed[1].reference == 0


def test_both_sides_hear_of_an_execution_under_one_match_number() -> None:
    market = Market()
    market.enter("A", "B", 100, PAR)
    market.enter("B", "S", 60, PAR)
    (maker,) = market.replies["A"]
    _, taker = market.replies["B"]
    assert (maker.liquidity, taker.liquidity) == ("A", "R")
    assert maker.match == taker.match
    assert maker.shares == taker.shares == 60


def test_what_is_left_of_an_aggressive_order_rests_and_is_shown() -> None:
    market = Market()
    market.enter("A", "S", 100, PAR)
    market.enter("B", "B", 250, PAR + 100)
    assert kinds(market.feed) == ["OrderExecuted", "AddOrder"]
    assert market.feed[1].shares == 150
    assert market.depth("B") == [(PAR + 100, 150)]
    assert market.depth("S") == []


def test_what_an_immediate_order_cannot_get_comes_back_as_canceled() -> None:
    market = Market()
    market.enter("A", "S", 100, PAR)
    market.enter("B", "B", 250, PAR, time_in_force_s=ouch.TIF_IOC)
    assert kinds(market.replies["B"]) == ["Accepted", "Executed", "Canceled"]
    assert (market.replies["B"][2].decrement_shares, market.replies["B"][2].reason) == (150, "I")
    assert market.depth("B") == []


def test_an_immediate_order_that_finds_nothing_is_never_shown() -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, time_in_force_s=ouch.TIF_IOC)
    assert kinds(market.replies["A"]) == ["Accepted", "Canceled"]
    assert market.feed == []


def test_a_partial_cancel_keeps_the_place_in_the_queue() -> None:
    market = Market()
    first = market.enter("A", "S", 300, PAR)
    market.enter("A", "S", 100, PAR)
    (canceled,) = market.send("A", ouch.CancelOrder(first, 100))
    assert (canceled.decrement_shares, canceled.reason) == (200, "U")
    assert kinds(market.feed) == ["OrderCancel"]
    market.enter("B", "B", 50, PAR)
    assert market.replies["A"][0].token == first


def test_cancel_counts_what_was_executed() -> None:
    market = Market()
    token = market.enter("A", "S", 500, PAR)
    market.enter("B", "B", 100, PAR)
    (canceled,) = market.send("A", ouch.CancelOrder(token, 300))
    assert canceled.decrement_shares == 200
    assert market.depth("S") == [(PAR, 200)]
    (canceled,) = market.send("A", ouch.CancelOrder(token, 100))
    assert canceled.decrement_shares == 200
    assert market.depth("S") == []


@pytest.mark.parametrize("shares", [300, 301, 999_999])
def test_a_superfluous_cancel_is_ignored(shares: int) -> None:
    market = Market()
    token = market.enter("A", "S", 300, PAR)
    assert market.send("A", ouch.CancelOrder(token, shares)) == []
    assert market.send("A", ouch.CancelOrder("unknown", 0)) == []
    assert market.depth("S") == [(PAR, 300)]


def test_a_replace_loses_the_place_in_the_queue() -> None:
    market = Market()
    first = market.enter("A", "S", 100, PAR)
    second = market.enter("A", "S", 100, PAR)
    (replaced,) = market.send("A", ouch.ReplaceOrder(first, "new", 100, PAR))
    assert (replaced.token, replaced.previous_token, replaced.state) == ("new", first, "L")
    assert kinds(market.feed) == ["OrderReplace"]
    market.enter("B", "B", 100, PAR)
    assert market.replies["A"][0].token == second


def test_a_replace_means_the_total_of_the_chain() -> None:
    market = Market()
    token = market.enter("A", "S", 500, PAR)
    market.enter("B", "B", 100, PAR)
    (replaced,) = market.send("A", ouch.ReplaceOrder(token, "new", 500, PAR + 100))
    assert replaced.shares == 400
    assert market.depth("S") == [(PAR + 100, 400)]


def test_a_replace_to_less_than_was_executed_cancels_and_leaves_the_new_token_free() -> None:
    market = Market()
    token = market.enter("A", "S", 500, PAR)
    market.enter("B", "B", 100, PAR)
    (canceled,) = market.send("A", ouch.ReplaceOrder(token, "new", 100, PAR))
    assert (canceled.token, canceled.decrement_shares) == (token, 400)
    assert kinds(market.send("A", ouch.EnterOrder("new", "B", 100, "TEST", PAR))) == ["Accepted"]


def test_an_aggressive_replace_executes() -> None:
    market = Market()
    token = market.enter("A", "B", 100, PAR - 100)
    market.enter("B", "S", 60, PAR)
    market.send("A", ouch.ReplaceOrder(token, "new", 100, PAR))
    assert kinds(market.replies["A"]) == ["Replaced", "Executed"]
    assert kinds(market.feed) == ["OrderDelete", "OrderExecuted", "AddOrder"]
    assert market.depth("B") == [(PAR, 40)]


@pytest.mark.parametrize(
    ("before", "after", "feed"),
    [
        ("Y", "N", ["OrderDelete"]),
        ("N", "Y", ["AddOrder"]),
        ("Y", "A", ["OrderDelete", "AddOrderAttributed"]),
        ("N", "N", []),
    ],
)
def test_a_replace_that_changes_the_display_is_a_delete_or_an_add(before: str, after: str, feed: list[str]) -> None:
    market = Market()
    token = market.enter("A", "B", 100, PAR, display=before, firm="FIRM")
    market.send("A", ouch.ReplaceOrder(token, "new", 100, PAR, display=after))
    assert kinds(market.feed) == feed


@pytest.mark.parametrize(
    "replace",
    [
        ouch.ReplaceOrder("one", "new", 1_000_000, PAR),
        ouch.ReplaceOrder("one", "new", 0, PAR),
        ouch.ReplaceOrder("one", "new", 100, 0),
        ouch.ReplaceOrder("one", "new", 100, PAR, display="?"),
    ],
)
def test_a_malformed_replace_cancels_the_order(replace: ouch.ReplaceOrder) -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, token="one")
    assert kinds(market.send("A", replace)) == ["Canceled"]
    assert market.depth("B") == []


@pytest.mark.parametrize("old", ["dead", "never"])
def test_a_replace_of_a_dead_order_is_ignored_and_uses_no_token(old: str) -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, token="dead", time_in_force_s=ouch.TIF_IOC)
    assert market.send("A", ouch.ReplaceOrder(old, "new", 100, PAR)) == []
    assert kinds(market.send("A", ouch.EnterOrder("new", "B", 100, "TEST", PAR))) == ["Accepted"]


def test_a_replace_to_a_used_token_is_ignored() -> None:
    market = Market()
    one, two = market.enter("A", "B", 100, PAR), market.enter("A", "B", 100, PAR)
    assert market.send("A", ouch.ReplaceOrder(one, two, 100, PAR)) == []
    assert market.depth("B") == [(PAR, 200)]


def test_a_replace_beyond_a_limit_is_rejected_and_leaves_the_order_alone() -> None:
    market = Market(max_order_shares=500)
    token = market.enter("A", "B", 100, PAR)
    (rejected,) = market.send("A", ouch.ReplaceOrder(token, "new", 501, PAR))
    assert (rejected.token, rejected.reason) == ("new", "m")
    assert market.depth("B") == [(PAR, 100)]


def test_modify_reduces_and_keeps_the_place() -> None:
    market = Market()
    first = market.enter("A", "S", 300, PAR)
    market.enter("A", "S", 100, PAR)
    (modified,) = market.send("A", ouch.ModifyOrder(first, "T", 200))
    assert modified == ouch.OrderModified(market.time_ns, first, "T", 200)
    assert kinds(market.feed) == ["OrderCancel"]
    market.enter("B", "B", 250, PAR)
    fill = market.replies["A"][0]
    assert (fill.token, fill.shares) == (first, 200)


@pytest.mark.parametrize("modify", [("S", 301), ("B", 200), ("?", 200)])
def test_modify_neither_increases_nor_changes_to_the_other_side(modify: tuple[str, int]) -> None:
    market = Market()
    token = market.enter("A", "S", 300, PAR)
    assert market.send("A", ouch.ModifyOrder(token, *modify)) == []
    assert market.depth("S") == [(PAR, 300)]


@pytest.mark.parametrize("side", ["S", "T", "E"])
def test_every_kind_of_sale_is_shown_as_a_sale(side: str) -> None:
    market = Market()
    market.enter("A", side, 100, PAR)
    assert market.feed[0].side == "S"
    assert market.replies["A"][0].side == side


def test_a_used_token_is_ignored_so_that_resends_are_harmless() -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, token="one")
    market.enter("A", "B", 100, PAR, token="one")
    assert market.replies == {}
    market.enter("B", "B", 100, PAR, token="one")
    assert kinds(market.replies["B"]) == ["Accepted"]


def test_increasing_tokens_ignore_what_is_not_above_the_last() -> None:
    market = Market(tokens="increasing")
    market.enter("A", "B", 100, PAR, token="b")
    for token in ("a", "b"):
        market.enter("A", "B", 100, PAR, token=token)
        assert market.replies == {}
    market.enter("A", "B", 100, PAR, token="c")
    assert kinds(market.replies["A"]) == ["Accepted"]
    assert kinds(market.send("A", ouch.CancelOrder("b", 0))) == ["Canceled"]


@pytest.mark.parametrize(
    ("terms", "letter"),
    [
        ({"stock": "NONE"}, "S"),
        ({"display": "M"}, "D"),
        ({"cross": "O"}, "R"),
        ({"minimum_shares": 100}, "N"),
        ({"capacity": "?"}, "O"),
        ({"time_in_force_s": 100_000}, "O"),
    ],
)
def test_terms_that_this_market_does_not_have_are_rejected(terms: dict[str, str], letter: str) -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, **terms)
    assert [reply.reason for reply in market.replies["A"]] == [letter]
    assert market.feed == []


@pytest.mark.parametrize(
    ("side", "shares", "price_e4", "letter"),
    [
        ("?", 100, PAR, "O"),
        ("B", 0, PAR, "Z"),
        ("B", 1_000_000, PAR, "Z"),
        ("B", 100, 0, "X"),
        ("B", 100, ouch.MARKET_PRICE_E4, "X"),
        ("B", 1001, PAR, "m"),
        ("B", 1000, PAR + 100, "n"),
        ("B", 10, PAR * 11 // 10 + 100, "X"),
        ("S", 10, PAR * 9 // 10 - 100, "X"),
    ],
)
def test_an_order_over_a_limit_is_rejected_with_the_limits_letter(
    side: str, shares: int, price_e4: int, letter: str
) -> None:
    market = Market(max_order_shares=1000, max_order_notional=100_000, collar_percent=10)
    market.enter("A", side, shares, price_e4)
    assert [reply.reason for reply in market.replies["A"]] == [letter]
    assert market.depth("B") == market.depth("S") == []


def test_the_collar_follows_the_last_trade() -> None:
    market = Market(collar_percent=10)
    high = PAR * 12 // 10
    market.enter("A", "B", 10, high)
    assert market.replies["A"][0].reason == "X"
    market.enter("B", "S", 10, high)
    market.enter("C", "B", 10, high)
    market.enter("A", "B", 10, high)
    assert kinds(market.replies["A"]) == ["Accepted"]


def test_a_market_maker_may_bid_low_and_offer_high() -> None:
    market = Market(collar_percent=10)
    market.enter("A", "B", 10, PAR // 2)
    market.enter("A", "S", 10, PAR * 2)
    assert len(market.depth("B")) == len(market.depth("S")) == 1


@pytest.mark.parametrize(
    ("limit", "value"),
    [("max_open_orders", 2), ("max_exposure", 25_000), ("max_orders_per_second", 2), ("duplicate_orders", 2)],
)
def test_a_limit_of_the_flow_lets_two_orders_through_and_rejects_the_third(limit: str, value: int) -> None:
    changes: dict[str, Any] = {limit: value}
    market = Market(**changes)
    answers = []
    for _ in range(3):
        market.enter("A", "B", 100, PAR)
        answers += market.replies["A"]
    assert kinds(answers) == ["Accepted", "Accepted", "Rejected"]
    assert answers[-1].reason == "O"


def test_the_open_order_and_exposure_limits_let_go_when_orders_end() -> None:
    market = Market(max_open_orders=1, max_exposure=10_000)
    for _ in range(3):
        token = market.enter("A", "B", 100, PAR)
        assert kinds(market.replies["A"]) == ["Accepted"]
        market.send("A", ouch.CancelOrder(token, 40))
        market.enter("B", "S", 40, PAR)
    assert market.core.accounts["A"].exposure_e4 == 0
    assert market.core.accounts["A"].open_orders == 0


def test_post_only_is_canceled_when_it_would_execute_even_against_hidden() -> None:
    market = Market()
    market.enter("A", "S", 100, PAR, display="N")
    market.enter("B", "B", 100, PAR, display="P")
    assert kinds(market.replies["B"]) == ["Accepted", "Canceled"]
    assert market.replies["B"][1].reason == "F"
    market.enter("B", "B", 100, PAR - 100, display="P")
    assert kinds(market.replies["B"]) == ["Accepted"]


def test_a_minimum_quantity_is_summed_over_several_orders_or_not_executed_at_all() -> None:
    market = Market()
    market.enter("A", "S", 100, PAR)
    market.enter("A", "S", 100, PAR + 100)
    market.enter("B", "B", 300, PAR + 100, time_in_force_s=ouch.TIF_IOC, minimum_shares=201)
    assert kinds(market.replies["B"]) == ["Accepted", "Canceled"]
    market.enter("B", "B", 300, PAR + 100, time_in_force_s=ouch.TIF_IOC, minimum_shares=200)
    assert kinds(market.replies["B"]) == ["Accepted", "Executed", "Executed", "Canceled"]


def test_a_hidden_order_is_not_executed_below_its_minimum() -> None:
    market = Market()
    hidden = market.enter("A", "S", 500, PAR, display="N", minimum_shares=200)
    market.enter("B", "B", 100, PAR, time_in_force_s=ouch.TIF_IOC)
    assert kinds(market.replies["B"]) == ["Accepted", "Canceled"]
    market.enter("B", "B", 200, PAR, time_in_force_s=ouch.TIF_IOC)
    assert [fill.token for fill in market.replies["A"]] == [hidden]


def test_what_is_left_of_a_hidden_order_is_executed_though_it_is_below_its_minimum() -> None:
    market = Market()
    market.enter("A", "B", 1000, PAR, display="N", minimum_shares=500)
    market.enter("B", "S", 700, PAR)
    market.enter("B", "S", 300, PAR)
    assert kinds(market.replies["B"]) == ["Accepted", "Executed"]
    assert market.depth("B") == market.depth("S") == []


def test_a_replacement_of_what_is_left_takes_it_though_it_is_below_the_minimum() -> None:
    market = Market()
    market.enter("A", "B", 1000, PAR, display="N", minimum_shares=500, token="one")
    market.enter("B", "S", 700, PAR)
    market.enter("B", "S", 300, PAR + 100)
    market.send("A", ouch.ReplaceOrder("one", "two", 1000, PAR + 100, display="N", minimum_shares=500))
    assert kinds(market.replies["A"]) == ["Replaced", "Executed"]
    assert market.depth("B") == market.depth("S") == []


def test_a_replacement_counts_the_minimum_that_it_shares_with_others_for_itself() -> None:
    market = Market()
    for token in ("one", "two"):
        market.enter("A", "B", 1000, PAR, display="N", minimum_shares=500, token=token)
    market.enter("B", "S", 700, PAR, time_in_force_s=ouch.TIF_IOC)
    market.enter("B", "S", 400, PAR, time_in_force_s=ouch.TIF_IOC)  # too few for order two
    assert [fill.token for fill in market.replies["A"]] == ["one"]
    assert market.depth("B") == [(PAR, 1000)]


def test_an_order_too_small_for_a_hidden_minimum_rests_beside_it() -> None:
    market = Market()
    market.enter("A", "B", 1000, PAR, display="N", minimum_shares=500)
    market.enter("B", "S", 300, PAR)
    assert kinds(market.replies["B"]) == ["Accepted"]
    assert kinds(market.feed) == ["AddOrder"]


@pytest.mark.parametrize("terms", [{"display": "N"}, {"time_in_force_s": ouch.TIF_IOC}])
def test_a_minimum_above_the_orders_own_shares_is_rejected(terms: dict[str, Any]) -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, minimum_shares=101, **terms)
    assert [reply.reason for reply in market.replies["A"]] == ["N"]
    market.enter("A", "B", 100, PAR, minimum_shares=100, **terms)
    assert kinds(market.replies["A"])[0] == "Accepted"


def test_a_replacement_whose_minimum_is_above_its_shares_is_malformed() -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, display="N", minimum_shares=50, token="one")
    replace = ouch.ReplaceOrder("one", "two", 100, PAR, display="N", minimum_shares=101)
    assert kinds(market.send("A", replace)) == ["Canceled"]
    assert market.depth("B") == []


def two_firms(policy: str = "allow", within: str = "firm") -> Market:
    """Return a market in which the accounts A and B belong to one firm, and C to another.

    `policy` and `within` are account A's rule of self-match prevention.
    """
    one: dict[str, Any] = {"firm": "ONE", "mpids": ["AAAA", "BBB"]}
    settings = settings_of(**one, self_match=policy, self_match_within=within)
    settings["accounts"]["B"].update(one)
    settings["accounts"]["C"].update(firm="TWO", mpids=["GSCO"])
    return Market(settings)


@pytest.mark.parametrize(
    ("policy", "within", "answers", "left"),
    [
        ("allow", "firm", ["Accepted", "Executed"], []),
        ("cancel_resting", "account", ["Accepted", "Executed"], []),
        ("cancel_resting", "firm", ["Accepted"], [(PAR, 100)]),
        ("cancel_incoming", "firm", ["Accepted", "Canceled"], []),
    ],
)
def test_an_account_meets_its_firm_by_its_own_rule(
    policy: str, within: str, answers: list[str], left: list[tuple[int, int]]
) -> None:
    market = two_firms(policy, within)
    market.enter("B", "S", 100, PAR)
    market.enter("A", "B", 100, PAR)
    assert kinds(market.replies["A"]) == answers
    assert market.depth("B") == left
    if policy == "cancel_resting" and within == "firm":
        assert [reply.reason for reply in market.replies["B"]] == ["Q"]


@pytest.mark.parametrize("policy", ["cancel_resting", "cancel_incoming"])
def test_firms_trade_with_each_other_whatever_their_rules(policy: str) -> None:
    market = two_firms(policy)
    market.enter("C", "S", 100, PAR)
    market.enter("A", "B", 100, PAR)
    assert kinds(market.replies["A"]) == ["Accepted", "Executed"]


def test_a_minimum_is_not_met_by_shares_of_the_own_firm() -> None:
    market = two_firms("cancel_incoming")
    market.enter("C", "S", 100, PAR)
    market.enter("B", "S", 100, PAR)
    market.enter("A", "B", 200, PAR, time_in_force_s=ouch.TIF_IOC, minimum_shares=101)
    assert kinds(market.replies["A"]) == ["Accepted", "Canceled"]
    market.enter("A", "B", 200, PAR, time_in_force_s=ouch.TIF_IOC, minimum_shares=100)
    assert kinds(market.replies["A"]) == ["Accepted", "Executed", "Canceled"]


@pytest.mark.parametrize(
    ("account", "firm", "published"), [("A", "", "AAAA"), ("B", "BBB", "BBB"), ("C", "", "GSCO"), ("C", "GSCO", "GSCO")]
)
def test_an_order_is_published_under_an_mpid_of_its_firm(account: str, firm: str, published: str) -> None:
    market = two_firms()
    market.enter(account, "B", 100, PAR, display="A", firm=firm, token="one")
    assert [message.attribution for message in market.feed] == [published]
    assert market.replies[account][0].firm == published
    (replaced,) = market.send(account, ouch.ReplaceOrder("one", "two", 100, PAR - 100, display="A"))
    assert replaced.firm == published
    assert kinds(market.feed) == ["OrderReplace"]


@pytest.mark.parametrize("display", ["A", "Y", "N"])
def test_an_order_under_an_mpid_of_another_firm_is_rejected(display: str) -> None:
    market = two_firms()
    for firm in ("GSCO", "NONE", "AAA"):
        market.enter("A", "B", 100, PAR, display=display, firm=firm)
        assert [reply.reason for reply in market.replies["A"]] == ["L"]


def test_an_mpid_that_is_taken_away_is_used_by_no_later_order() -> None:
    market = two_firms()
    market.enter("A", "B", 100, PAR, firm="BBB", token="one")
    market.enter("A", "B", 100, PAR, display="A", token="two")
    market.core.configure(settings_of(firm="ONE", mpids=["CCCC"]), market.time_ns)
    market.enter("A", "B", 100, PAR, firm="BBB")
    assert [reply.reason for reply in market.replies["A"]] == ["L"]
    assert kinds(market.send("A", ouch.ReplaceOrder("one", "three", 100, PAR))) == ["Canceled"]
    market.enter("A", "B", 100, PAR, display="A")
    assert [message.attribution for message in market.feed] == ["CCCC"]


@pytest.mark.parametrize("side", ["B", "S"])
def test_neither_feed_nor_price_tells_which_side_was_hidden_but_its_owner_is_told(side: str) -> None:
    market = Market()
    market.enter("A", side, 100, PAR, display="N")
    market.enter("B", "S" if side == "B" else "B", 100, PAR)
    (trade,) = market.feed
    assert (trade.side, trade.reference, trade.shares) == ("B", 0, 100)
    assert market.replies["A"][0].liquidity == "J"
    assert market.replies["B"][1].liquidity == "R"


@pytest.mark.parametrize(
    ("price_e4", "listing", "fits"),
    [
        (PAR + 1, {}, False),
        (PAR + 99, {}, False),
        (PAR + 100, {}, True),
        (DOLLAR_E4, {}, True),
        (DOLLAR_E4 + 1, {}, False),
        (DOLLAR_E4 - 1, {}, True),
        (1, {}, True),
        (PAR + 100, {"tick_e4": 500}, False),
        (PAR + 500, {"tick_e4": 500}, True),
        (DOLLAR_E4 - 1, {"tick_e4": 500}, False),
        (PAR + 1, {"tick_e4": 1}, True),
    ],
)
def test_a_price_is_a_multiple_of_the_symbols_tick(price_e4: int, listing: dict[str, Any], fits: bool) -> None:
    market = Market(**listing)
    market.enter("A", "B", 100, price_e4)
    assert [getattr(reply, "reason", "") for reply in market.replies["A"]] == ([""] if fits else ["X"])
    tick_e4 = listing.get("tick_e4", 1)
    market.enter("A", "B", 100, tick_e4, token="one")
    answers = market.send("A", ouch.ReplaceOrder("one", "two", 100, price_e4))
    assert kinds(answers) == (["Replaced"] if fits else ["Canceled"])


def test_shares_are_a_multiple_of_the_symbols_lot_and_stay_one() -> None:
    market = Market(lot_shares=10)
    market.enter("A", "B", 105, PAR)
    assert [reply.reason for reply in market.replies["A"]] == ["X"]
    market.enter("A", "B", 100, PAR, token="one")
    assert market.send("A", ouch.CancelOrder("one", 95)) == []
    assert market.send("A", ouch.ModifyOrder("one", "B", 95)) == []
    assert market.depth("B") == [(PAR, 100)]
    assert kinds(market.send("A", ouch.CancelOrder("one", 90))) == ["Canceled"]
    assert kinds(market.send("A", ouch.ModifyOrder("one", "B", 80))) == ["OrderModified"]
    assert kinds(market.send("A", ouch.ReplaceOrder("one", "two", 75, PAR))) == ["Canceled"]
    assert market.depth("B") == []


def test_the_directory_says_whether_there_are_only_whole_lots() -> None:
    def directory(market: Market) -> tuple[int, str]:
        market.core.end_day(market.time_ns)
        market.core.start_day("2026010600", market.time_ns)
        market.drain()
        (message,) = (message for message in market.feed if isinstance(message, itch.StockDirectory))
        return message.round_lot_shares, message.round_lots_only

    assert directory(Market()) == (100, "N")
    market = Market(lot_shares=10)
    assert directory(market) == (10, "Y")
    market.take()
    market.core.configure(settings_of(lot_shares=20), market.time_ns)
    market.drain()
    assert [message.round_lot_shares for message in market.feed if isinstance(message, itch.StockDirectory)] == [20]


@pytest.mark.parametrize("token", ["\0\0\0", "a\tb", "\x7f", "a\n"])
def test_a_token_with_control_characters_is_rejected_and_not_remembered(token: str) -> None:
    market = Market(tokens="increasing")
    for _ in range(2):
        market.enter("A", "B", 100, PAR, token=token)
        assert [(reply.token, reply.reason) for reply in market.replies["A"]] == [(token, "O")]
    assert market.core.accounts["A"].last_token == b""
    market.enter("A", "B", 100, PAR, token="one_2.3 four")
    assert kinds(market.replies["A"]) == ["Accepted"]
    assert kinds(market.send("A", ouch.ReplaceOrder("one_2.3 four", "p" + token, 100, PAR))) == ["Canceled"]


@pytest.mark.parametrize("price_e4", [ouch.MARKET_PRICE_E4, 0, PAR + 1])
def test_an_order_for_a_cross_is_refused_for_that_whatever_its_price(price_e4: int) -> None:
    market = Market()
    market.enter("A", "B", 100, price_e4, cross="O")
    assert [reply.reason for reply in market.replies["A"]] == ["R"]


def test_a_modify_under_a_kill_switch_says_nothing_of_the_live_order() -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, token="one")
    market.core.set_killed(market.core.accounts["A"], True)
    assert market.send("A", ouch.ModifyOrder("one", "B", 50)) == []
    assert market.depth("B") == [(PAR, 100)]
    assert kinds(market.send("A", ouch.CancelOrder("one", 50))) == ["Canceled"]


@pytest.mark.parametrize(
    ("policy", "answers", "left"),
    [
        ("allow", ["Accepted", "Executed", "Executed"], []),
        ("cancel_resting", ["Accepted", "Canceled"], [(PAR, 100)]),
        ("cancel_incoming", ["Accepted", "Canceled"], []),
    ],
)
def test_an_account_meets_itself_by_its_own_rule(policy: str, answers: list[str], left: list[tuple[int, int]]) -> None:
    market = Market(self_match=policy)
    market.enter("A", "S", 100, PAR)
    market.enter("A", "B", 100, PAR)
    assert kinds(market.replies["A"]) == answers
    assert market.depth("B") == left


def test_an_order_in_force_for_seconds_is_canceled_when_they_are_over() -> None:
    market = Market()
    token = market.enter("A", "B", 100, PAR, time_in_force_s=2)
    early = market.enter("A", "B", 100, PAR, time_in_force_s=1)
    market.send("A", ouch.CancelOrder(early, 0))
    market.take()
    market.core.expire(market.time_ns + 1_000_000_000)
    market.drain()
    assert market.replies == {}
    market.core.expire(market.time_ns + 3_000_000_000)
    market.drain()
    (canceled,) = market.replies["A"]
    assert (canceled.token, canceled.reason) == (token, "T")
    assert market.depth("B") == []


def test_while_a_day_closes_orders_can_only_end() -> None:
    market = Market()
    token = market.enter("A", "B", 100, PAR)
    market.core.close_day(market.time_ns)
    market.send("A", ouch.ReplaceOrder(token, "new", 100, PAR))
    assert [reply.reason for reply in market.replies["A"]] == ["C"]
    market.enter("A", "S", 100, PAR)
    assert [reply.reason for reply in market.replies["A"]] == ["C"]
    assert market.depth("B") == [(PAR, 100)]
    market.send("A", ouch.CancelOrder(token, 0))
    assert kinds(market.replies["A"]) == ["Canceled"]
    market.take()
    market.core.end_day(market.time_ns)
    market.core.end_day(market.time_ns)
    market.drain()
    assert [event.event for event in market.feed] == ["E", "C"]


def test_a_day_begins_with_its_event_and_forgets_tokens_and_numbers() -> None:
    market = Market(settings_of(("TEST", "OTHER")))
    market.enter("A", "B", 100, PAR, token="one")
    market.take()
    market.core.end_day(market.time_ns)
    market.drain()
    assert [type(reply).__name__ for reply in market.replies["A"]] == ["Canceled", "SystemEvent"]
    assert market.replies["A"][0].reason == "E"
    market.enter("A", "B", 100, PAR)
    assert market.replies["A"][0].reason == "C"
    market.take()
    market.core.start_day("2026010600", market.time_ns)
    market.drain()
    assert market.core.accounts["A"].sequence == 1
    assert market.replies["A"][0].event == "S"
    assert kinds(market.feed)[:4] == ["SystemEvent", "SystemEvent", "StockDirectory", "TradingAction"]
    market.enter("A", "B", 100, PAR, token="one")
    assert kinds(market.replies["A"]) == ["Accepted"]


def test_a_symbol_taken_out_of_the_configuration_is_restricted() -> None:
    market = Market(settings_of(("TEST", "OTHER")))
    market.core.configure(settings_of(("TEST",)), market.time_ns)
    market.enter("A", "B", 100, PAR, stock="OTHER")
    assert market.replies["A"][0].reason == "c"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0", "length 0"),
        (b"\0\0U", "length 0"),
        (b"\0\x02U?", "malformed OUCH"),
        (b"\0\x02UO", "malformed OUCH"),
        (b"\0\x01U", "malformed OUCH"),
        (b"\0\x01?", "unexpected"),
        (b"\0\x01S", "unexpected"),
        (b"\xff\xffU", "too long"),
    ],
)
def test_bytes_against_the_protocol_end_the_connection_with_a_reason(data: bytes, reason: str) -> None:
    market = Market()
    heartbeat = b"\0\x01R"
    assert market.read("A", heartbeat + data) == len(heartbeat)
    assert reason in market.core.close_reason


def test_an_incomplete_packet_waits_for_the_rest() -> None:
    market = Market()
    assert market.read("A", b"\0\x01R\0\x32UO") == 3
    assert market.core.close_reason == ""


def test_nothing_after_a_logout_is_read() -> None:
    market = Market()
    assert market.read("A", b"\0\x01O\0\x01?") == 3
    assert market.core.close_reason == "logout"


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
def test_any_number_of_different_terms_needs_the_memory_of_a_few() -> None:
    market = Market()

    def existing() -> int:
        return sum(isinstance(known, Terms) for known in gc.get_objects())

    before = existing()
    kept = market.enter("A", "B", 100, PAR, time_in_force_s=90_000)
    for seconds in range(1, 10_500):
        token = market.enter("A", "B", 100, PAR, time_in_force_s=seconds)
        market.send("A", ouch.ReplaceOrder(token, f"same{seconds}", 100, PAR, seconds))
        market.send("A", ouch.ReplaceOrder(f"same{seconds}", f"back{seconds}", 100, PAR, 1 + seconds % 100))
        market.send("A", ouch.ReplaceOrder(kept, f"kept{seconds}", 100, PAR, seconds))
        kept = f"kept{seconds}"
        market.send("A", ouch.CancelOrder(f"back{seconds}", 0))
    assert existing() - before < 1000
