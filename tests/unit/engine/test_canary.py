"""The canary is a client inside of the engine that measures round trips.

The engine does not count the canary in its figures about clients.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trading_engine.process import admin
from trading_engine.process.canary import Canary
from trading_engine.published.histogram import bucket_of
from trading_engine.published.shm import State, StateWriter
from trading_engine.published.stats import Stats
from trading_engine.settings.config import Symbol
from trading_engine.wire import ouch, soupbintcp
from trading_telemetry.latency import Latency

from tests.unit.engine.process import DEADLINE_S, ENVIRONMENT, Client, EngineProcess, wait_for_state

FLOOD = 20_000
STOPPED_S = 1.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path, canary={"symbol": "TEST"}) as running:
        yield running


def has_measured(more: int) -> Callable[[State], bool]:
    return lambda state: state.counters["canary_round_trips"] >= more


def order(number: int, price_e4: int = 1_000_000) -> ouch.EnterOrder:
    return ouch.EnterOrder(f"{number:014d}", "B", 100, "TEST", price_e4)


def test_it_measures_while_nobody_trades_and_nobody_is_counted(engine: EngineProcess) -> None:
    state = wait_for_state(engine, has_measured(5))
    assert state.histograms["canary"].count >= 5
    assert state.histograms["receive_to_reply"].count == state.histograms["service"].count == 0
    orders = ("enters_received", "orders_accepted", "orders_canceled", "executions", "rejects_X")
    assert [state.counters[name] for name in orders] == [0] * len(orders)
    assert (state.gauges["sessions_open"], state.gauges["test_sessions_open"], state.sessions) == (0, 0, [])
    assert state.counters["canary_failures"] == 0


def test_a_clients_orders_are_counted_exactly_beside_it(engine: EngineProcess) -> None:
    with_one = Client(engine.port)
    with_one.send(*(order(number) for number in range(100)))
    with_one.wait_for(101)
    seen = wait_for_state(engine, lambda state: state.counters["enters_received"] > 0)
    state = wait_for_state(engine, has_measured(seen.counters["canary_round_trips"] + 3))
    assert state.counters["enters_received"] == state.counters["orders_accepted"] == 100
    assert state.counters["orders_canceled"] == 0
    assert state.histograms["receive_to_reply"].count == state.histograms["service"].count == 100
    assert [session.account for session in state.sessions] == ["ANNA"]
    with_one.close()


def test_what_a_recovery_replays_is_counted_for_nobody(engine: EngineProcess) -> None:
    client = Client(engine.port)
    client.send(order(1))
    client.wait_for(2)
    wait_for_state(engine, has_measured(3))
    engine.stop(signal.SIGKILL)
    client.close()
    engine.start()
    state = wait_for_state(engine, has_measured(3))
    assert state.gauges["recovered_records"] > 3
    assert state.gauges["open_orders"] == 1
    assert (state.counters["enters_received"], state.counters["orders_accepted"]) == (0, 0)


def test_a_stall_counts_for_every_order_that_was_due_in_it(engine: EngineProcess) -> None:
    assert engine.process is not None
    before = wait_for_state(engine, has_measured(2))
    engine.process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_S)  # the canary measures this pause
    engine.process.send_signal(signal.SIGCONT)
    state = wait_for_state(engine, has_measured(before.counters["canary_round_trips"] + 3))
    canary = state.histograms["canary"].since(before.histograms["canary"])
    assert canary.maximum_ns >= (STOPPED_S - 0.1) * 1e9
    assert sum(canary.counts[bucket_of(100_000_000) + 1 :]) >= 8
    assert canary.count > state.counters["canary_round_trips"] - before.counters["canary_round_trips"]


def test_under_a_flood_clients_wait_the_service_time_does_not_and_the_canary_waits_less_than_who_floods(
    engine: EngineProcess,
) -> None:
    wait_for_state(engine, has_measured(1))
    client = Client(engine.port)
    begun_ns = time.monotonic_ns()
    client.send(*(order(number, 1 + number % 1000) for number in range(FLOOD)))
    client.wait_for(FLOOD + 1)
    whole_flood_ns = time.monotonic_ns() - begun_ns
    state = wait_for_state(engine, lambda state: state.counters["enters_received"] == FLOOD)
    clients, service = state.histograms["receive_to_reply"], state.histograms["service"]
    assert clients.count == service.count == FLOOD
    assert Latency.of(clients).percentile_us(99) > 2 * Latency.of(service).percentile_us(50)
    assert state.histograms["canary"].maximum_ns < whole_flood_ns
    client.close()


def test_the_next_day_begins_without_a_failure(engine: EngineProcess) -> None:
    before = wait_for_state(engine, has_measured(2))
    admin.ask(engine.directory / "admin.sock", {"command": "next-day"})
    state = wait_for_state(engine, has_measured(before.counters["canary_round_trips"] + 5))
    assert state.counters["canary_failures"] == 0
    assert state.counters["logins_accepted"] >= 2
    told = admin.ask(engine.directory / "admin.sock", {"command": "status"})
    assert told["session_messages"] == 0, "what the canary orders is nobody's trading"


def test_it_enters_no_order_while_the_journal_has_no_space(tmp_path: Path) -> None:
    with EngineProcess(tmp_path, canary={"symbol": "TEST"}, journal={"reserve_bytes": 1 << 50}) as engine:
        state = wait_for_state(engine, lambda state: state.counters["logins_accepted"] == 1)
        later = wait_for_state(engine, lambda now: now.counters["reads"] > state.counters["reads"] + 20)
        assert later.counters["journal_records"] == state.counters["journal_records"]
        assert (later.counters["canary_round_trips"], later.counters["canary_failures"]) == (0, 0)


def test_it_is_answered_after_the_clock_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary gets answers even after the clock was set back.

    The engine ignores an order whose token is not greater than the previous token. The canary's tokens must therefore
    grow in every case.
    """
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nread = time.time_ns\n"
        "time.time_ns = lambda: read() + int(os.environ['AHEAD_S']) * 1_000_000_000\n"
    )
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}")
    engine = EngineProcess(tmp_path, canary={"symbol": "TEST"})
    for ahead_s in ("3600", "0"):
        monkeypatch.setitem(ENVIRONMENT, "AHEAD_S", ahead_s)
        with engine:
            wait_for_state(engine, has_measured(3))
            engine.stop()


def test_who_names_no_symbol_has_no_canary(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine:
        state = wait_for_state(engine, lambda state: state.sequence > 5)
        assert state.counters["logins_accepted"] == 0
        assert state.histograms["canary"].count == 0


@pytest.fixture
def stats(tmp_path: Path) -> Iterator[Stats]:
    writer = StateWriter(tmp_path / "own.shm", "1.2.3", "os")
    yield Stats(writer)
    writer.close()


async def canary_of(address: tuple[str, int], stats: Stats) -> Canary:
    symbol = Symbol("TEST", 1_000_000, False, 0, 1)
    return Canary(asyncio.get_running_loop(), address, symbol, "password", stats, lambda: True)


def test_an_answer_that_nobody_expects_ends_the_session_and_nothing_else(stats: Stats) -> None:
    unexpected: list[dict[str, Any]] = []

    async def serve_nonsense() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))
        ended = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(soupbintcp.login_accepted("2026010500", 1))
            await reader.readuntil(b"TEST")
            writer.write(soupbintcp.packet(soupbintcp.SEQUENCED))
            while await reader.read(4096):
                pass
            ended.set()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        canary = await canary_of(server.sockets[0].getsockname(), stats)
        await asyncio.wait_for(ended.wait(), DEADLINE_S)
        await canary.stop()
        server.close()

    asyncio.run(serve_nonsense())
    assert not unexpected
    (event,) = stats.events
    assert "canary: IndexError" in str(event)


def test_an_answer_without_the_kernels_time_counts_until_it_is_read(stats: Stats) -> None:
    async def answer_without_time() -> None:
        canary = await canary_of(("127.0.0.1", 9), stats)
        ours, theirs = socket.socketpair()  # a socket without receive times
        with ours, theirs:
            canary._waiting.append([time.monotonic_ns()])
            theirs.sendall(soupbintcp.sequenced(b"J"))
            canary._answered(ours, soupbintcp.Splitter(), asyncio.get_running_loop().create_future())
        await canary.stop()

    asyncio.run(answer_without_time())
    assert sum(stats.canary.counts) == 1
