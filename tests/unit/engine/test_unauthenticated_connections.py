"""Connections that never log in.

The engine limits the number of these connections. They add nothing to its files and disturb no other client.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from trading_engine.clients.gateway import MAX_STRANGERS, Gateway
from trading_engine.engine import Engine
from trading_engine.published.garbage import Garbage
from trading_engine.published.shm import State, StateWriter
from trading_engine.published.stats import Stats
from trading_engine.settings.config import Endpoint
from trading_engine.settings.passwords import hash_password
from trading_engine.wire import ouch, soupbintcp

from tests.unit.engine.process import DEADLINE_S, PASSWORD, Client, EngineProcess, free_port, wait_for_state
from tests.unit.engine.test_numbers import FAILED_LOGINS

STRANGERS = 600  # more than the engine keeps, fewer than this process may open
DESCRIPTORS = 96
HASH = hash_password(PASSWORD)  # as in production: each check takes 50 ms


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    account = {"password": HASH}
    with EngineProcess(tmp_path, order_entry={"second_login": "refuse"}, **{"accounts.ANNA": account}) as running:
        yield running


@pytest.mark.parametrize("few", [True, False])
def test_hundreds_of_them_harm_nobody(engine: EngineProcess, few: bool) -> None:
    assert engine.process is not None
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.prlimit(engine.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS if few else most, most))
    client = Client(engine.port)
    with ExitStack() as opened:
        for _ in range(STRANGERS):
            opened.enter_context(socket.create_connection(("127.0.0.1", engine.port), DEADLINE_S))
        begun = wait_for_state(engine, lambda state: True)
        client.send(ouch.EnterOrder("one", "B", 100, "TEST", 1_000_000))
        client.wait_for(2)
        other = Client(engine.port, "BERT")
        other.wait_for(1)

        def long_unharmed(state: State) -> bool:
            assert engine.process is not None
            assert engine.process.poll() is None
            assert state.failure == ""
            return state.sequence >= begun.sequence + 25  # 2.5 s, in which the engine checks the disk

        state = wait_for_state(engine, long_unharmed)
        held = state.counters["connections_accepted"] - state.counters["connections_closed"]
        assert held <= MAX_STRANGERS + 2
        assert any("have not logged in" in event.text for event in state.events)
        client.send(ouch.EnterOrder("two", "B", 100, "TEST", 1_000_000))
        client.wait_for(3)
        client.close()
        other.close()


def test_one_address_with_wrong_passwords_takes_neither_places_nor_checks_from_others(engine: EngineProcess) -> None:
    wrong = soupbintcp.login_request("ANNA", "wrong", "", 1)
    with ExitStack() as opened:
        for _ in range(STRANGERS):
            stranger = socket.create_connection(("127.0.0.1", engine.port), DEADLINE_S, ("127.0.0.2", 0))
            opened.enter_context(stranger).sendall(wrong)
        client = Client(engine.port)
        assert isinstance(client.login, soupbintcp.LoginAccepted)
        counters = wait_for_state(engine, lambda state: state.counters["logins_throttled"] > 0).counters
        assert counters["logins_rejected"] == FAILED_LOGINS
        client.close()


def test_many_right_logins_at_once_are_all_answered_as_such(engine: EngineProcess) -> None:
    right = soupbintcp.login_request("ANNA", PASSWORD, "", 1)
    with ExitStack() as opened:
        sockets = [
            opened.enter_context(socket.create_connection(("127.0.0.1", engine.port), DEADLINE_S)) for _ in range(50)
        ]
        for one in sockets:
            one.sendall(right)
        answers = [one.recv(4, socket.MSG_WAITALL) for one in sockets]
    assert sorted(answer[2:3] for answer in answers) == [b"A"] + 49 * [b"J"]
    refused = [answer for answer in answers if answer[2:3] == b"J"]
    assert {answer[3:] for answer in refused} == {soupbintcp.SESSION_NOT_AVAILABLE.encode()}


def test_out_of_descriptors_the_listener_is_left_alone_for_a_moment(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    writer = StateWriter(tmp_path / "own.shm", "1.2.3", "os")
    stats = Stats(writer)
    engine = start()
    engine.config = dataclasses.replace(engine.config, order_entry=Endpoint("127.0.0.1", free_port()))
    gateway = Gateway(engine, stats, Garbage(stats), loop)
    _turn(loop)  # writes the market data at the start of the day
    gateway.listen()
    gateway.open()
    (listener,) = (one.socket for one in gateway._listeners)
    with socket.create_connection(listener.getsockname(), DEADLINE_S):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))  # no further descriptor can be opened
        try:
            _turn(loop)
            assert not loop.remove_reader(listener.fileno())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert [event.text for event in stats.events] == ["accept: Too many open files"]
        end_s = time.monotonic() + DEADLINE_S
        while not stats.connections_accepted:
            assert time.monotonic() < end_s
            _turn(loop)
    gateway.close()
    writer.close()


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()
