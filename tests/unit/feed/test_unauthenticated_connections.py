"""The feed closes connections that never log in, when it needs their place for a subscriber."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from trading_engine.published.ring import RingWriter
from trading_engine.settings.passwords import hash_password
from trading_engine.wire import soupbintcp
from trading_feed import server
from trading_feed.accounts import Accounts
from trading_feed.live import Live
from trading_feed.log import Log
from trading_feed.server import Connection, Feed

DEADLINE_S = 20.0


def allow(directory: Path, **passwords: str) -> None:
    """Replace the file of accounts. `passwords` has the password of each new account, by the account's name."""
    tables = [f'[accounts.{name}]\npassword = "{hash_password(password)}"\n' for name, password in passwords.items()]
    (directory / "accounts.new").write_text("".join(tables))
    (directory / "accounts.new").rename(directory / "accounts.toml")


@asynccontextmanager
async def serving(directory: Path, *, awaits_proxy: bool = False) -> AsyncIterator[tuple[str, int]]:
    """Serve one trading session without messages, and yield the feed's address.

    With `awaits_proxy`, the feed expects a TLS proxy in front of its clients.
    """
    (directory / "2026112300-00000000000000000001.itch").write_bytes(b"")
    (directory / "engine.toml").write_text(
        f'[shared_memory]\npath = "{directory}/engine.shm"\n'
        '[accounts]\nfile = "accounts.toml"\n[[symbol]]\nname = "TEST"\nreference_price = "100"\n'
    )
    allow(directory, ANNA="secret")
    log = Log(directory)
    feed = Feed(Accounts(directory / "engine.toml"), log)
    listening = await asyncio.get_running_loop().create_server(
        lambda: Connection(feed, awaits_proxy=awaits_proxy), "127.0.0.1", 0
    )
    following = asyncio.ensure_future(feed.follow())
    yield listening.sockets[0].getsockname()
    following.cancel()
    await asyncio.wait([following])
    listening.close()
    feed.close()
    log.close()


async def test_who_does_not_log_in_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    async with asyncio.timeout(DEADLINE_S), serving(tmp_path) as address:
        strangers = [await asyncio.open_connection(*address) for _ in range(3)]
        for _, stranger in strangers:
            stranger.write(soupbintcp.CLIENT_HEARTBEAT_PACKET)
        subscribers = [await asyncio.open_connection(*address) for _ in range(3)]
        for reader, subscriber in subscribers:
            subscriber.write(soupbintcp.login_request("ANNA", "secret"))
            assert (await reader.readexactly(33))[2] == soupbintcp.LOGIN_ACCEPTED
        for reader, writer in [*strangers, await asyncio.open_connection(*address)]:  # all places have subscribers
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(1)
            writer.close()
        for _, subscriber in subscribers:
            subscriber.close()


async def test_the_ring_is_followed_for_subscribers_not_for_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: asyncio.Queue[tuple[bool, bool]] = asyncio.Queue()
    check = Live.check

    def told(live: Live, wanted: bool) -> None:
        check(live, wanted)
        asked.put_nowait((wanted, live.follows))

    monkeypatch.setattr(Live, "check", told)
    monkeypatch.setattr(server, "REFRESH_S", 0.0)
    monkeypatch.setattr(server, "IDLE_S", 0.01)
    ring = RingWriter(tmp_path / "engine.shm.feed", tmp_path / "engine.shm.bell")
    async with asyncio.timeout(DEADLINE_S), serving(tmp_path) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(soupbintcp.login_request("ANNA", "wrong"))
        assert (await reader.read())[2] == soupbintcp.LOGIN_REJECTED
        writer.close()
        stranger_reader, stranger = await asyncio.open_connection(*address)
        stranger.write(soupbintcp.CLIENT_HEARTBEAT_PACKET)
        for _ in range(5):
            assert await asked.get() == (False, False)
        reader, subscriber = await asyncio.open_connection(*address)
        subscriber.write(soupbintcp.login_request("ANNA", "secret"))
        assert (await reader.readexactly(33))[2] == soupbintcp.LOGIN_ACCEPTED
        while await asked.get() != (True, True):
            pass
        subscriber.close()
        while await asked.get() != (False, False):
            pass
        assert not stranger_reader.at_eof()
        stranger.close()
    ring.close()


async def test_heartbeats_are_no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOGIN_S", 0.2)
    async with asyncio.timeout(DEADLINE_S), serving(tmp_path) as address:
        reader, writer = await asyncio.open_connection(*address)
        ended = asyncio.ensure_future(reader.read())
        while not ended.done():
            writer.write(soupbintcp.CLIENT_HEARTBEAT_PACKET)
            await asyncio.wait([ended], timeout=0.01)
        assert isinstance(ended.exception(), ConnectionError | None)
        writer.close()


async def test_what_the_feed_stood_still_is_nobodys_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(server, "SILENCE_S", 3.0)
    async with asyncio.timeout(DEADLINE_S), serving(tmp_path) as address:
        reader, subscriber = await asyncio.open_connection(*address)
        subscriber.write(soupbintcp.login_request("ANNA", "secret"))
        assert (await reader.readexactly(33))[2] == soupbintcp.LOGIN_ACCEPTED
        time.sleep(6)
        assert (await reader.readexactly(3))[2] == soupbintcp.SERVER_HEARTBEAT
        subscriber.close()


async def test_the_client_that_a_proxy_names_is_the_one_that_the_log_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header = b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 9012\r\n"
    wrong, right = (soupbintcp.login_request("ANNA", password) for password in ("wrong", "secret"))
    async with asyncio.timeout(DEADLINE_S), serving(tmp_path, awaits_proxy=True) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(header[:20])
        await writer.drain()
        writer.write(header[20:] + wrong)
        assert (await reader.read())[2] == soupbintcp.LOGIN_REJECTED
        assert "203.0.113.7: login of account 'ANNA' rejected" in caplog.text
        writer.close()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(header + right)
        assert (await reader.readexactly(33))[2] == soupbintcp.LOGIN_ACCEPTED
        writer.close()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(right)  # without the proxy's header
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(1)
        writer.close()
