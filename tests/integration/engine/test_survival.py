"""Longer tests of the engine under hard conditions.

The engine is killed while it is busy, completes segments of its journal, and serves a client that does not read.
"""

from __future__ import annotations

import contextlib
import hashlib
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from trading_engine.machine.core import Core
from trading_engine.process import tools
from trading_engine.published.shm import StateReader
from trading_engine.storage import snapshot
from trading_engine.wire import itch, ouch, soupbintcp

from tests.unit.engine.flow import reads, seeded
from tests.unit.engine.process import DEADLINE_S, Client, EngineProcess

PAR = 1_000_000
_KILLS = 3  # for each loop and durability


def enter(token: str, side: str = "B", shares: int = 100) -> ouch.EnterOrder:
    return ouch.EnterOrder(token, side, shares, "TEST", PAR)


def _is_told(client: Client, token: str) -> bool:
    return any(getattr(message, "token", "") == token for message in client.messages[-1000:])


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("durability", ["os", "disk"])
def test_nothing_acknowledged_is_missing_after_kills_under_load(tmp_path: Path, loop: str, durability: str) -> None:
    engine = EngineProcess(tmp_path, order_entry={"event_loop": loop}, journal={"durability": durability})
    known: list[Any] = []
    with engine:
        for kill in range(_KILLS):
            client = Client(engine.port)
            for batch in range(40):
                client.send(*(enter(f"{kill}-{batch:03d}-{number}") for number in range(20)))
            client.wait_for(len(known) + seeded(kill).randrange(1, 750))
            engine.stop(signal.SIGKILL)
            client.wait(lambda: False)
            assert client.messages[: len(known)] == known
            known = client.messages
            engine.start()
        last = Client(engine.port)
        last.send(enter("the last"))
        last.wait(lambda: bool(last.messages) and getattr(last.messages[-1], "token", "") == "the last")
        assert last.messages[: len(known)] == known
        references = [message.reference for message in last.messages[1:]]
        assert references == list(range(1, len(references) + 1))
        assert engine.stop() == (0, "")
        last.wait(lambda: False)
    feed = b"".join(path.read_bytes() for path in sorted((tmp_path / "itch").iterdir()))
    adds = [message for message in map(itch.FEED.decode, itch.split_log(feed)) if isinstance(message, itch.AddOrder)]
    assert [add.reference for add in adds] == references


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_replay_says_what_the_clients_were_told(tmp_path: Path, loop: str) -> None:
    with EngineProcess(tmp_path, order_entry={"event_loop": loop, "retention_bytes": 1 << 26}) as engine:
        client = Client(engine.port)
        for number, (_, data) in enumerate(reads(seed=1, count=25_000, accounts=1)):
            client.socket.sendall(data)
            if number % 50 == 0:
                client.send(ouch.EnterOrder(f"mark {number}", "B", 1, "TEST", 10_000))  # nobody sells at this price
                client.wait(lambda token=f"mark {number}": _is_told(client, token))  # type: ignore[misc]
        engine.stop()
        client.wait(lambda: False)
    told = hashlib.sha256()
    for kind, payload in soupbintcp.Splitter().feed(client.raw):
        if kind == soupbintcp.SEQUENCED:
            told.update((len(payload) + 1).to_bytes(2, "big") + b"S" + payload)
    replayed = tools.replay(tmp_path / "journal")
    left = Core()
    snapshot.read(snapshot.files(tmp_path / "journal")[-1], left)
    assert replayed["messages"] > 100_000
    assert replayed["sha256"]["replies"]["ANNA"] == told.hexdigest()
    assert replayed["sha256"]["state"] == snapshot.digest(left)


def test_sealed_segments_become_snapshots_from_which_the_next_start_goes_on(tmp_path: Path) -> None:
    engine = EngineProcess(tmp_path, journal={"budget_bytes": 4 << 20}, order_entry={"retention_bytes": 1 << 20})
    with engine:
        client = Client(engine.port)
        for batch in range(400):
            client.send(*(enter(f"{batch:04d}-{number:03d}", "BS"[batch % 2]) for number in range(100)))
            client.wait_for(1 + batch * 50)
        client.wait_for(1 + 400 * 200)
        reader = StateReader(tmp_path / "engine.shm")
        end = time.monotonic() + DEADLINE_S
        while reader.read().counters["snapshots"] == 0:
            assert time.monotonic() < end, reader.read().events
        reader.close()
        engine.stop(signal.SIGKILL)
        client.wait(lambda: False)
        engine.start()
        assert Client(engine.port, sequence=1).login == soupbintcp.SESSION_NOT_AVAILABLE  # these messages were deleted
        again = Client(engine.port, sequence=79_000)
        again.send(enter("the last"))
        again.wait_for(80_001 - 79_000 + 2)
        assert again.messages[:-1] == client.messages[78_999:]
        assert again.messages[-1].reference == 40_001
        again.close()
        assert sum(path.stat().st_size for path in (tmp_path / "journal").glob("*.journal")) < 4 << 20


def test_a_client_that_does_not_read_is_dropped_and_comes_back_for_everything(tmp_path: Path) -> None:
    with EngineProcess(tmp_path, order_entry={"slow_client_bytes": 1 << 16}) as engine:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(DEADLINE_S)
        deaf.connect(("127.0.0.1", engine.port))
        deaf.sendall(soupbintcp.login_request("ANNA", "secret"))
        reader = StateReader(tmp_path / "engine.shm")
        other = Client(engine.port, "BERT", sequence=0)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while reader.read().counters["dropped_slow_clients"] == 0:
                orders = (enter(f"{sent + number:08d}") for number in range(50))
                deaf.sendall(b"".join(soupbintcp.unsequenced(ouch.INBOUND.encode(order)) for order in orders))
                sent += 50
                other.send(enter(f"{sent}"))
                assert other.wait_for(sent // 50)[-1].token == f"{sent}"
        reader.close()
        deaf.close()
        other.close()
        again = Client(engine.port)
        again.send(ouch.CancelOrder("00000000", 0))
        again.wait(lambda: bool(again.messages) and isinstance(again.messages[-1], ouch.Canceled))
        tokens = [message.token for message in again.messages[1:-1]]
        assert tokens == [f"{number:08d}" for number in range(len(tokens))]
        assert len(tokens) > 1000
        again.close()


def test_who_sends_as_fast_as_he_can_is_answered_in_bounded_memory_and_holds_nobody_up(tmp_path: Path) -> None:
    orders, limit_bytes = 30_000, 1 << 20
    with EngineProcess(tmp_path, order_entry={"slow_client_bytes": limit_bytes}) as engine:
        flooding, quiet = Client(engine.port, sequence=0), Client(engine.port, "BERT", sequence=0)
        data = b"".join(
            soupbintcp.unsequenced(ouch.INBOUND.encode(enter(f"{number:08d}"))) for number in range(orders)
        )  # fmt: skip
        reader = StateReader(tmp_path / "engine.shm")
        flooding.socket.setblocking(False)
        sent, answered, told = 0, 0, 0
        while answered < orders * 69:
            waiting = [flooding.socket] if sent < len(data) else []
            readable, writable, _ = select.select([flooding.socket], waiting, [], DEADLINE_S)
            assert readable or writable, f"no answer for {DEADLINE_S:.0f} s; {sent} bytes sent, {answered} answered"
            if writable:
                sent += flooding.socket.send(data[sent : sent + 65536])
                quiet.send(enter(f"{told}"))
                told += 1
                assert quiet.wait_for(told)[-1].token == f"{told - 1}"
            if readable:
                received = flooding.socket.recv(1 << 20)
                assert received, f"the engine closed the connection; {sent} bytes sent, {answered} answered"
                answered += len(received)
            assert reader.read().gauges["queued_bytes"] <= limit_bytes
        assert reader.read().counters["dropped_slow_clients"] == 0
        reader.close()
        flooding.close()
        quiet.close()
