"""The engine cancels many orders in slices: a limited number of orders in each turn of its event loop.

All orders are cancelled, even if the engine crashes meanwhile. Every replay cancels them in the same way.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.machine.core import Core
from trading_engine.process import tools
from trading_engine.process.admin import Admin, AdminError
from trading_engine.storage import snapshot
from trading_engine.wire import ouch, soupbintcp

ORDERS = 1000
A_SLICE = 64
ENOUGH_TURNS = 1000


def fill(engine: Engine, number: int, orders: int = ORDERS, time_in_force_s: int = ouch.TIF_MARKET_HOURS) -> None:
    """Connect the account with this number, and enter `orders` resting orders."""
    engine.submit(inputs.CONNECT, number)
    first = engine.core.enters
    for serial in range(first, first + orders):
        order = ouch.EnterOrder(f"{serial:07d}", "B", 100, "TEST", 1_000_000, time_in_force_s)
        data = soupbintcp.unsequenced(ouch.INBOUND.encode(order))
        assert engine.read(number, data, 0) == len(data)


def turns_until(loop: asyncio.AbstractEventLoop, reached: Callable[[], bool]) -> int:
    """Run the loop, one turn after the other, until `reached` returns true. Return the number of turns.

    The test fails after too many turns.
    """
    for turns in range(ENOUGH_TURNS):
        if reached():
            return turns
        loop.call_soon(loop.stop)
        loop.run_forever()
    pytest.fail(f"not reached in {ENOUGH_TURNS} turns of the loop")


def test_no_slice_is_long_and_a_replay_says_the_same(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    engine = start()
    fill(engine, 0)
    fill(engine, 1, 10)
    canceled: list[int] = []
    engine.deliver = lambda output: canceled.append(sum(messages for _, _, messages in output[0]))
    engine.disconnect(0)
    assert turns_until(loop, lambda: not engine.cancellations.under_way(0)) >= ORDERS / A_SLICE
    assert (sum(canceled), max(canceled)) == (ORDERS, A_SLICE)
    assert engine.core.open_orders == 10
    replayed = tools.replay(tmp_path / "journal")
    assert replayed["sha256"]["state"] == snapshot.digest(engine.core)


@pytest.mark.parametrize("after_slices", [0, 3])
def test_a_crash_in_the_middle_leaves_no_order_behind(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, after_slices: int
) -> None:
    engine = start()
    fill(engine, 0)
    engine.disconnect(0)
    turns_until(loop, lambda: engine.core.open_orders <= ORDERS - after_slices * A_SLICE)
    again = start()
    kept = Core()
    snapshot.load(kept, snapshot.dump(again.core))
    assert kept.by_number[0].leaving
    assert again.core.open_orders >= ORDERS - after_slices * A_SLICE
    again.cancellations.resume()
    turns_until(loop, lambda: not again.cancellations.under_way(0))
    assert again.core.open_orders == 0


def with_account(engine: Engine, name: str) -> int:
    """Add an account that is not in the configuration, and return its number."""
    settings = engine.config.accounts["ANNA"].core_settings()
    changes = {"accounts": {name: settings}, "symbols": [], "dropped": []}
    engine.submit(inputs.CHANGE, payload=json.dumps(changes).encode())
    return engine.core.accounts[name].number


def test_an_account_that_is_no_longer_listed_at_a_start_leaves_no_order_behind(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    engine = start()
    number = with_account(engine, "CARL")
    fill(engine, number)
    fill(engine, 0, 10)
    again = start()
    again.cancellations.resume()
    assert again.core.by_number[number].killed
    turns_until(loop, lambda: again.core.open_orders == 10)
    replayed = tools.replay(tmp_path / "journal")
    assert replayed["sha256"]["state"] == snapshot.digest(again.core)


def test_the_canary_may_come_back(start: Callable[[], Engine]) -> None:
    engine = start()
    number = with_account(engine, "CANARY")
    assert not start().core.by_number[number].killed


def test_orders_that_rested_before_the_setting_was_turned_on_stay(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    engine = start()
    settings = engine.config.core_settings()
    settings["accounts"]["ANNA"]["cancel_on_disconnect"] = False
    engine.submit(inputs.CONFIGURE, payload=json.dumps(settings).encode())
    fill(engine, 0)
    engine.disconnect(0)
    for _ in range(2):  # the first start changes the setting, the next finds it changed
        again = start()
        assert again.core.by_number[0].cancel_on_disconnect
        again.cancellations.resume()
        assert not again.cancellations.under_way(0)
        assert again.core.open_orders == ORDERS
    kept = Core()
    snapshot.load(kept, snapshot.dump(again.core))
    assert not kept.by_number[0].leaving


def test_the_day_is_over_when_nothing_is_open(start: Callable[[], Engine], loop: asyncio.AbstractEventLoop) -> None:
    engine = start()
    fill(engine, 0)
    fill(engine, 1)
    ended: list[int] = []
    engine.cancellations.close_day(lambda: ended.append(engine.core.open_orders))
    assert turns_until(loop, lambda: bool(ended)) >= 2 * ORDERS / A_SLICE
    assert ended == [0]


def test_the_next_day_cannot_be_asked_for_while_the_day_is_closing(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop
) -> None:
    engine = start()
    fill(engine, 0)
    begun: list[str] = []
    asked = Admin(
        engine, lambda: engine.cancellations.close_day(lambda: begun.append("day")), lambda number: None
    )  # fmt: skip
    assert asked.execute({"command": "next-day"}) == {"done": "next-day", "name": ""}
    with pytest.raises(AdminError, match="being closed already"):
        asked.execute({"command": "next-day"})
    turns_until(loop, lambda: bool(begun))
    assert begun == ["day"]


def test_a_day_that_a_crash_left_half_closed_is_ended_at_the_start(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop
) -> None:
    engine = start()
    fill(engine, 0)
    day = engine.core.day
    engine.cancellations.close_day(lambda: None)
    turns_until(loop, lambda: engine.core.open_orders < ORDERS)
    again = start()
    assert (again.core.open_orders, again.core.closing, again.core.open) == (0, False, True)
    assert again.core.day > day


def test_orders_that_end_at_the_same_time_end_in_slices(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start()
    fill(engine, 0, time_in_force_s=1)
    ended: list[str] = []

    def note(packets: bytes) -> None:
        for _, payload in soupbintcp.Splitter().feed(packets):
            ended.append(ouch.OUTBOUND.decode(payload).token)

    engine.deliver = lambda output: note(b"".join(packets for _, packets, _ in output[0]))
    monotonic_ns = time.monotonic_ns
    monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic_ns() + 3_000_000_000)
    engine.cancellations.expire()
    engine.cancellations.expire()
    assert turns_until(loop, lambda: engine.core.open_orders == 0) >= ORDERS / A_SLICE
    assert sorted(ended) == [f"{serial:07d}" for serial in range(ORDERS)]
