"""Random orders have the same effects in the engine and in a simple reference market.

Market data shows the same book.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from trading_engine.wire import ouch

from tests.unit.engine.duel import Duel, run

MESSAGES = 20_000  # `scripts/prove market` sends a million

PRICES = st.integers(9_990, 10_010).map(lambda cents: cents * 100)
SHARES = st.integers(1, 300)
MINIMUMS = st.one_of(st.just(0), st.integers(1, 300))
OWNERS = st.sampled_from("ABCD")
NUMBERS = st.integers(0, 40)
DISPLAYS = st.sampled_from("YYNNAP")
TIMES = st.sampled_from((ouch.TIF_IOC, ouch.TIF_SYSTEM_HOURS))
FLOW = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), OWNERS, st.sampled_from("BS"), SHARES, PRICES, TIMES, DISPLAYS, MINIMUMS),
        st.tuples(st.just("cancel"), OWNERS, NUMBERS, st.integers(0, 300)),
        st.tuples(st.just("modify"), OWNERS, NUMBERS, st.integers(0, 300)),
        st.tuples(st.just("replace"), OWNERS, NUMBERS, SHARES, PRICES, TIMES, DISPLAYS, MINIMUMS),
    ),
    max_size=60,
)


@settings(max_examples=120)
@given(FLOW)
def test_any_flow_has_the_same_answers_and_the_same_book_as_in_the_plain_market(flow: list[tuple[Any, ...]]) -> None:
    """Hypothesis makes sequences of messages, and both markets must give the same answers.

    When the answers differ, Hypothesis searches for the shortest sequence of messages for which they differ.
    """
    duel = Duel()
    tokens: list[str] = []
    for step, (kind, owner, *rest) in enumerate(flow):
        token = f"N{step:03d}"
        if kind == "enter":
            side, shares, price_e4, in_force, display, minimum = rest
            tokens.append(token)
            duel.send(
                owner,
                ouch.EnterOrder(
                    token, side, shares, "CENTS", price_e4, in_force, display=display, minimum_shares=minimum
                ),
            )
        elif not tokens:
            continue
        elif kind == "cancel":
            duel.send(owner, ouch.CancelOrder(tokens[rest[0] % len(tokens)], rest[1]))
        elif kind == "modify":
            duel.send(owner, ouch.ModifyOrder(tokens[rest[0] % len(tokens)], "S", rest[1]))
        else:
            number, shares, price_e4, in_force, display, minimum = rest
            old = tokens[number % len(tokens)]
            tokens.append(token)
            duel.send(
                owner,
                ouch.ReplaceOrder(old, token, shares, price_e4, in_force, display=display, minimum_shares=minimum),
            )
    live = sum(account.open_orders for account in duel.market.core.by_number)
    assert live == len(duel.reference.orders)


def test_random_messages_have_the_same_answers_and_the_same_book_as_in_the_plain_market() -> None:
    """Both markets give the same answers to random messages, and have the same book after them.

    The messages use firms, ticks and lots, and some are malformed. Between messages, the configuration changes, and the
    engine continues from snapshots.
    """
    duel = run(seed=1, messages=MESSAGES)
    assert set(duel.messages) == {"EnterOrder", "ReplaceOrder", "CancelOrder", "ModifyOrder"}
    assert set(duel.answers) >= {"accepted", "replaced", "modified", "executed A", "executed J", "executed R"}
    assert {answer[-1] for answer in duel.answers if answer.startswith("rejected")} == set("DLNORSXZ")
    assert {answer[-1] for answer in duel.answers if answer.startswith("canceled")} == set("FIQU")
