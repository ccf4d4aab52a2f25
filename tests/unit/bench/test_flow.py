"""The bytes that the load generator sends."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trading_bench.flow import SLOTS_PER_CYCLE, Flow
from trading_engine.host.runs import run_prefix
from trading_engine.wire import ouch, soupbintcp

PRICE_E4 = 1_000_000


def messages(flow: Flow, slots: range) -> list[Any]:
    stream = b"".join(flow.frames(slot) for slot in slots)
    packets = soupbintcp.Splitter().feed(stream)
    assert {kind for kind, _ in packets} == {soupbintcp.UNSEQUENCED}
    return [ouch.INBOUND.decode(payload) for _, payload in packets]


def test_every_slot_is_one_enter_order_and_a_cycle_ends_with_the_cancel_of_the_order_that_rests() -> None:
    cycle = messages(Flow("TEST", PRICE_E4, b"0000001"), range(4, 8))
    assert [type(message) for message in cycle] == [ouch.EnterOrder] * SLOTS_PER_CYCLE + [ouch.CancelOrder]
    sell, taker, resting, missed, cancel = cycle
    assert (sell.side, taker.side, sell.price_e4) == ("S", "B", taker.price_e4)
    assert taker.time_in_force_s == missed.time_in_force_s == ouch.TIF_IOC
    assert resting.price_e4 < PRICE_E4 < missed.price_e4
    assert cancel == ouch.CancelOrder("00000010000006", 0)
    assert resting.token == cancel.token


def test_no_token_is_used_twice_in_a_run() -> None:
    tokens = Counter(m.token for m in messages(Flow("TEST", PRICE_E4), range(400)) if isinstance(m, ouch.EnterOrder))
    assert len(tokens) == 400


@given(st.integers(0, 70_000_000_000), st.integers(1, 1_000_000))
def test_tokens_of_a_later_run_sort_after_those_of_an_earlier_one(earlier_tenths: int, later_by: int) -> None:
    earlier, later = run_prefix(earlier_tenths / 10), run_prefix((earlier_tenths + later_by + 1) / 10)
    assert len(earlier) == len(later) == 7
    assert earlier < later
