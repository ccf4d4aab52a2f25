"""The engine writes no clear-text password: neither to its logs, nor to the published state, nor to its files."""

from __future__ import annotations

import asyncio
import reprlib
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import uvloop
from trading_engine.clients.connection import Connection
from trading_engine.clients.gateway import Gateway
from trading_engine.engine import Engine
from trading_engine.published.garbage import Garbage
from trading_engine.published.shm import StateReader, StateWriter
from trading_engine.published.stats import Stats
from trading_engine.settings import config
from trading_engine.wire import soupbintcp

from tests.unit.engine.process import DEADLINE_S, PASSWORD, Client, EngineProcess

WRONG = "Wr0ng-Pass"
REQUEST = soupbintcp.LoginRequest("ANNA", WRONG, "", 1)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made: asyncio.AbstractEventLoop = request.param()
    yield made
    made.close()


@pytest.fixture
def gateway(tmp_path: Path, loop: asyncio.AbstractEventLoop) -> Iterator[Gateway]:
    """Yield a gateway, the part of the engine that serves clients.

    The engine has not been started, so the gateway accepts no login yet.
    """
    settings = config.read(EngineProcess(tmp_path).config)
    writer = StateWriter(settings.shared_memory, "1.2.3", "os")
    stats = Stats(writer)
    made = Gateway(Engine(settings, loop), stats, Garbage(stats), loop)
    yield made
    made.close()
    writer.close()


@pytest.fixture
def connection(loop: asyncio.AbstractEventLoop) -> Iterator[Connection]:
    ours, theirs = socket.socketpair()
    yield Connection(loop, ours, "192.0.2.1", 0, 1 << 16)
    ours.close()
    theirs.close()


def test_a_login_request_and_an_account_are_shown_without_what_authenticates(gateway: Gateway) -> None:
    account = gateway._config.accounts["ANNA"]
    nested = partial(print, account, REQUEST)
    for shown in (repr(REQUEST), str(REQUEST), f"{REQUEST}", reprlib.repr(REQUEST), repr([REQUEST]), repr(nested)):
        assert "LoginRequest(" in shown
        assert WRONG not in shown
    for shown in (repr(account), str(account), reprlib.repr(account), repr(nested), repr(gateway._config)):
        assert account.password_hash not in shown


def test_what_the_loop_logs_of_a_failed_callback_has_no_password(
    gateway: Gateway, connection: Connection, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """When a callback fails, the event loop logs it with its arguments. No argument may show a password."""
    loop.set_debug(True)
    account = gateway._config.accounts["ANNA"]
    loop.call_soon(partial(gateway._login._checked, connection, account, REQUEST), "not a future")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert "_checked" in caplog.text
    assert WRONG not in caplog.text
    assert account.password_hash not in caplog.text


def test_a_check_that_fails_is_noted_without_what_it_was_given(
    gateway: Gateway, connection: Connection, loop: asyncio.AbstractEventLoop
) -> None:
    check: asyncio.Future[bool] = loop.create_future()
    check.set_exception(UnicodeEncodeError("ascii", WRONG, 0, 1, f"cannot take {WRONG}"))
    gateway._everybody.append(connection)
    gateway._login._checked(connection, gateway._config.accounts["ANNA"], REQUEST, check)
    assert connection.closed
    assert [event.text for event in gateway._stats.events] == [
        "login of 'ANNA' cannot be checked: UnicodeEncodeError",
    ]


def test_logins_leave_no_password_behind(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine:
        Client(engine.port).close()
        Client(engine.port).close()
        for account in ("ANNA", "NOBODY"):
            assert Client(engine.port, account, WRONG).login == soupbintcp.NOT_AUTHORISED
        for malformed in (
            soupbintcp.login_request("ANNA", WRONG)[:-1] + b"x",
            soupbintcp.packet(soupbintcp.LOGIN_REQUEST, b"ANNA  " + WRONG.encode()),
            soupbintcp.packet(soupbintcp.UNSEQUENCED, WRONG.encode()),
        ):
            with socket.create_connection(("127.0.0.1", engine.port), timeout=DEADLINE_S) as client:
                client.sendall(malformed)
                assert client.recv(1) == b""
        _, errors = engine.stop()
    events = [event.text for event in StateReader(tmp_path / "engine.shm").read().events]
    assert sum("rejected" in text for text in events) == 2
    assert sum("dropped before its login" in text for text in events) == 3
    for secret in (PASSWORD, WRONG):
        assert secret not in errors
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path
