"""Accounts change while the feed runs.

Subscribers with removed accounts are disconnected. New accounts can log in. All other subscribers stay connected.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from pathlib import Path

import pytest
from trading_engine.wire import soupbintcp
from trading_feed import server

from tests.unit.feed.test_unauthenticated_connections import DEADLINE_S, allow, serving

Stream = tuple[StreamReader, StreamWriter]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REFRESH_S", 0.0)
    monkeypatch.setattr(server, "IDLE_S", 0.01)


async def answer(address: tuple[str, int], name: str, password: str) -> tuple[int, Stream]:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(soupbintcp.login_request(name, password))
    return (await reader.readexactly(3))[2], (reader, writer)


async def gets_in(address: tuple[str, int], name: str, password: str) -> bool:
    kind, (_, writer) = await answer(address, name, password)
    writer.close()
    return kind == soupbintcp.LOGIN_ACCEPTED


async def test_accounts_come_and_go_under_subscribers_that_stay(tmp_path: Path) -> None:
    async with asyncio.timeout(DEADLINE_S), serving(tmp_path) as address:
        _, (anna_reader, anna) = await answer(address, "ANNA", "secret")
        allow(tmp_path, ANNA="secret", BEN="other")
        while not await gets_in(address, "BEN", "other"):
            pass
        _, (ben_reader, ben) = await answer(address, "ben", "other")
        allow(tmp_path, ANNA="changed")
        await asyncio.wait([ended := asyncio.ensure_future(ben_reader.read())])
        assert isinstance(ended.exception(), ConnectionError | None)
        assert not await gets_in(address, "BEN", "other")
        assert not await gets_in(address, "ANNA", "secret")
        assert await gets_in(address, "ANNA", "changed")
        anna.write(soupbintcp.CLIENT_HEARTBEAT_PACKET)
        await anna_reader.readexactly(30)  # the rest of the answer to ANNA's login
        assert not anna_reader.at_eof()
        anna.close()
        ben.close()


async def test_a_file_with_a_mistake_changes_nothing_until_it_is_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(DEADLINE_S), serving(tmp_path) as address:
        for broken in ("accounts.toml", "engine.toml"):
            right = (tmp_path / broken).read_text()
            (tmp_path / broken).write_text("[accounts.")
            while broken not in caplog.text:
                await asyncio.sleep(0.01)
            assert await gets_in(address, "ANNA", "secret")
            (tmp_path / broken).write_text(right)
        allow(tmp_path, BEN="other")
        while not await gets_in(address, "BEN", "other"):
            pass
        assert "the accounts stay as they were" in caplog.text
