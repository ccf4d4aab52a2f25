"""The engine gives a value to every number that it publishes. A catalogue describes the meaning of each number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trading_engine.engine import Engine
from trading_engine.published.catalogue import COUNTER_METRICS, COUNTERS, GAUGE_METRICS, numbers
from trading_engine.published.shm import StateWriter
from trading_engine.published.stats import Stats
from trading_engine.storage.growth import Growth
from trading_engine.storage.snapshotter import Snapshotter
from trading_engine.wire import ouch

from tests.unit.engine.process import Client, EngineProcess, wait_for_state
from tests.unit.engine.test_logs import enter

FAILED_LOGINS = 10  # after so many an address must wait


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with EngineProcess(
        tmp_path,
        canary={"symbol": "TEST"},
        journal={"segment_bytes": 1 << 16},
        risk={"max_order_shares": 1000, "max_open_orders": 3},
    ) as running:
        yield running


def buy(token: str, shares: int = 100, price_e4: int = 1_000_000) -> ouch.EnterOrder:
    return ouch.EnterOrder(token, "B", shares, "TEST", price_e4)


def test_what_the_catalogue_takes_is_there(start: Callable[[], Engine], tmp_path: Path) -> None:
    """The catalogue of published numbers names attributes of the engine's objects. Each attribute exists.

    With a wrong name, the engine would fail at its start. All tests with an engine would then time out without a clear
    reason.
    """
    engine = start()
    snapshotter = Snapshotter(tmp_path, 1)
    state = StateWriter(tmp_path / "own.shm", "1.2.3", "os")
    sources: dict[str, object] = {
        "engine": engine,
        "core": engine.core,
        "stats": Stats(state),
        "writer": engine.writer,
        "snapshotter": snapshotter,
    }
    taken = [number.taken.partition("[")[0] for number in numbers((*COUNTER_METRICS, *GAUGE_METRICS)) if number.taken]
    missing = [name for name in taken if not hasattr(sources[name.split(".")[0]], name.split(".")[1])]
    snapshotter.stop()
    state.close()
    assert taken
    assert missing == []


def test_every_gauge_is_assigned_and_every_counter_of_a_client_counts(engine: EngineProcess) -> None:
    anna, bert = Client(engine.port), Client(engine.port, "BERT")
    anna.send(buy("1"), ouch.ReplaceOrder("1", "2", 200, 1_000_000), ouch.ModifyOrder("2", "B", 150), buy("2"))
    bert.send(ouch.EnterOrder("3", "S", 50, "TEST", 1_000_000))
    bert.wait_for(3)  # SystemEvent, Accepted, Executed
    anna.send(ouch.CancelOrder("2"), buy("4", shares=2000), *(buy(f"5{number}") for number in range(4)))
    anna.wait_for(12)
    bert.close()
    state = wait_for_state(
        engine,
        lambda state: (
            not state.unassigned
            and state.counters["connections_closed"] >= 1
            and state.counters["orders_refused_open_orders"] >= 1
            and state.counters["canary_round_trips"] >= 1
            and state.counters["journal_syncs"] >= 1
        ),
    )
    for name in (
        "enters_received", "replaces_received", "cancels_received", "modifies_received", "messages_ignored",
        "orders_accepted", "orders_replaced", "orders_canceled", "executions", "executed_shares", "rejects_m",
        "rejects_O", "reads", "bytes_received", "bytes_sent", "messages_sent", "feed_messages", "feed_bytes",
        "connections_accepted", "logins_accepted", "journal_records", "journal_bytes", "journal_segments",
        "gc_collections",
    ):  # fmt: skip
        assert state.counters[name] > 0, name
    assert state.counters.keys() == set(COUNTERS)
    anna.close()


def test_a_throttled_login_is_not_counted_as_rejected_too(engine: EngineProcess) -> None:
    for _ in range(FAILED_LOGINS + 2):
        assert Client(engine.port, password="wrong").login == "A"
    state = wait_for_state(engine, lambda state: state.counters["logins_throttled"] == 2)
    assert state.counters["logins_rejected"] == FAILED_LOGINS


def test_a_journal_that_does_not_grow_lasts_for_ever(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine:
        state = wait_for_state(engine, lambda state: "journal_seconds_left" not in state.unassigned)
        assert state.gauges["journal_seconds_left"] == -1
        client = Client(engine.port)
        client.send(*(buy(str(number)) for number in range(1000)))
        wait_for_state(engine, lambda state: state.gauges["journal_seconds_left"] >= 0)
        client.close()


def test_after_growth_that_ended_the_journal_lasts_for_ever_again() -> None:
    growth = Growth()
    for second in range(1, 60):
        growth.see(second * 1_000_000_000, second * 1_000_000)
    assert growth.seconds_left(10_000_000) == pytest.approx(10, abs=1)
    for second in range(60, 180):
        growth.see(second * 1_000_000_000, 59_000_000)
    assert growth.seconds_left(10_000_000) == -1


def test_the_journals_used_bytes_are_those_of_segments_spare_and_snapshots(engine: EngineProcess) -> None:
    client = Client(engine.port)
    client.send(*(buy(str(number)) for number in range(4000)))
    client.wait_for(4001)
    client.close()
    wait_for_state(engine, lambda state: state.counters["snapshots"] >= 1)
    journal = engine.directory / "journal"

    def whole() -> int:
        return sum(path.stat().st_size for path in journal.iterdir() if path.is_file())

    spare = journal / "spare"
    wait_for_state(engine, lambda state: spare.exists() and state.gauges["journal_used_bytes"] == whole())
    assert [*journal.glob("*.snapshot")]


def test_the_journals_lag_is_the_age_of_the_oldest_write_that_is_not_synced(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop
) -> None:
    engine = start()
    enter(engine, "1")
    first_ns = engine.unsynced_ns
    enter(engine, "2")
    assert 0 < first_ns < engine.unsynced_ns
    engine.tick()  # starts a sync
    enter(engine, "3")
    assert engine.unsynced_ns > first_ns
    while engine.syncs == 0:
        loop.run_until_complete(asyncio.sleep(0.001))
    third_ns = engine.unsynced_ns
    engine.tick()
    while engine.syncs == 1:
        loop.run_until_complete(asyncio.sleep(0.001))
    assert third_ns > 0
    assert engine.unsynced_ns == engine.unsynced_bytes == 0
