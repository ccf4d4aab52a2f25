"""Each trading session has a name that no other session has, even when the date is set back.

Names are also unique when a date has more sessions than two decimal digits can number.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trading_engine.engine import Engine, StartError
from trading_engine.process.admin import Admin, AdminError
from trading_engine.wire import ouch, soupbintcp
from trading_feed.log import Log

from tests.unit.engine.process import DEADLINE_S, PASSWORD, Client, EngineProcess
from tests.unit.engine.test_admin import admin

AHEAD, BEHIND = "Etc/GMT-14", "Etc/GMT+12"  # 26 hours apart, so their dates always differ


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path, day={"zone": AHEAD}) as running:
        yield running


def a_day_back(engine: EngineProcess, client: Client) -> None:
    engine.stop()
    client.wait(lambda: False)
    engine.config.write_text(engine.config.read_text().replace(AHEAD, BEHIND))
    engine.start()


def enter(token: str, seconds: int = ouch.TIF_MARKET_HOURS) -> ouch.EnterOrder:
    return ouch.EnterOrder(token, "B", 100, "TEST", 1_000_000, seconds)


def session_of(client: Client) -> str:
    assert isinstance(client.login, soupbintcp.LoginAccepted)
    return client.login.session


def resumed(engine: EngineProcess, session: str, sequence: int) -> bytes:
    """Log in to the session with this name. Return all bytes that arrive until the connection ends."""
    with socket.create_connection(("127.0.0.1", engine.port), DEADLINE_S) as connection:
        connection.sendall(soupbintcp.login_request("BERT", PASSWORD, session, sequence))
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_a_day_back_the_session_goes_on_and_its_orders_end(engine: EngineProcess) -> None:
    first = Client(engine.port)
    first.send(enter("day"), enter("two seconds", 2))
    first.wait_for(3)
    a_day_back(engine, first)
    again = Client(engine.port)
    assert session_of(again) == session_of(first)
    again.wait_for(4)
    assert [message.token for message in again.messages[1:]] == ["day", "two seconds", "two seconds"]
    again.close()


def test_a_day_back_the_next_session_has_a_greater_name_and_nobody_resumes_into_it(engine: EngineProcess) -> None:
    first = Client(engine.port)
    first.send(enter("one"))
    first.wait_for(2)
    a_day_back(engine, first)
    assert admin(engine, "next-day")[0] == 0
    second = Client(engine.port)
    while session_of(second) == session_of(first):
        second.wait(lambda: False)
        second = Client(engine.port)
    assert session_of(second) > session_of(first)
    second.send(enter("two", 2))
    assert [type(message).__name__ for message in second.wait_for(3)] == ["SystemEvent", "Accepted", "Canceled"]
    assert resumed(engine, session_of(first), 3) == soupbintcp.login_rejected(soupbintcp.SESSION_NOT_AVAILABLE)
    log = Log(engine.directory / "itch")
    assert log.current is not None
    assert log.current.name == session_of(second)
    log.close()
    second.close()


@pytest.mark.parametrize("durability", ["none"])
def test_without_a_journal_the_names_of_the_logs_count(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop
) -> None:
    names = []
    for _ in range(3):
        names.append(start().core.day)
        loop.run_until_complete(asyncio.sleep(0))  # the loop writes market data in its next turn
    assert names == sorted(set(names))


def test_the_last_name_of_a_date_is_the_last(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    engine = start()
    engine.start_day(engine.core.day[:8] + "ZZ")
    rolled: list[str] = []
    with pytest.raises(AdminError, match="next date"):
        Admin(engine, lambda: rolled.append("day"), lambda number: None).execute({"command": "next-day"})
    assert rolled == []
    assert engine.core.open
    engine.end_day()
    with pytest.raises(StartError, match="ZZ is the last"):
        start()
