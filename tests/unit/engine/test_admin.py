"""An administrator's commands take effect on a running engine. Their effect remains after a restart."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from trading_engine.engine import Engine
from trading_engine.process import admin as process_admin
from trading_engine.process.admin import Admin, AdminError, AdminProtocol, ask
from trading_engine.process.visitors import Visitors
from trading_engine.storage import journal
from trading_engine.wire import itch, ouch, soupbintcp

from tests.unit.engine.process import DEADLINE_S, Client, EngineProcess, command

PAR = 1_000_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path, **{"accounts.ANNA": {"cancel_on_disconnect": True}}) as running:
        yield running


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """Run one engine. All tests that do not change its state share it."""
    with EngineProcess(tmp_path_factory.mktemp("shared")) as running:
        yield running


def admin(engine: EngineProcess, *asked: str) -> tuple[int, str]:
    """Run `trading-engine admin` and return its exit status and its output."""
    result = command("admin", "--config", str(engine.config), *asked)
    return result.returncode, result.stdout + result.stderr


def bust(engine: EngineProcess, match: int) -> tuple[int, str]:
    """Bust a trade, that is, cancel a trade that has happened."""
    return admin(engine, "bust", str(match))


def said(engine: EngineProcess, line: bytes) -> dict[str, Any]:
    """Write a line to the engine's administration socket without the command, and return the engine's answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(engine.directory / "admin.sock"))
        connection.sendall(line)
        answer: dict[str, Any] = json.loads(b"".join(iter(lambda: connection.recv(4096), b"")))
    return answer


class Turns:
    """A fake event loop. The test decides when each turn of the loop happens, and what time it is."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: deque[Callable[[], None]] = deque()
        self.later: dict[object, Callable[[], None]] = {}

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, _delay_s: float, callback: Callable[[], None]) -> SimpleNamespace:
        key = object()
        self.later[key] = callback
        return SimpleNamespace(cancel=lambda: self.later.pop(key, None))

    def run(self) -> None:
        while self.soon:
            self.soon.popleft()()


def protocol_of(engine: Engine, turns: Turns, visitors: Visitors | None = None) -> AdminProtocol:
    loop = cast(asyncio.AbstractEventLoop, turns)
    return AdminProtocol(
        Admin(engine, lambda: None, lambda number: None), loop, visitors or Visitors({}, turns.time)
    )  # fmt: skip


class Answers:
    """A fake asyncio transport that stores the bytes written to it. The peer of its connection is this process."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = self.aborted = self.paused = False
        self._ends = socket.socketpair()

    def get_extra_info(self, _name: str) -> socket.socket:
        return self._ends[0]

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def close(self) -> None:
        self.closed = True
        for end in self._ends:
            end.close()


def test_of_a_line_that_is_too_long_no_more_is_kept_than_says_so(start: Callable[[], Engine]) -> None:
    engine = start()
    turns, transport = Turns(), Answers()
    protocol = protocol_of(engine, turns)
    protocol.connection_made(cast(asyncio.BaseTransport, transport))
    first = {"command": "reload", "fixed": engine.config.fixed(), "default_firm": "HOUSE"}
    protocol.data_received(json.dumps(first).encode() + b"\n")
    for _ in range(10):
        protocol.data_received(b" " * 70_000)
    assert [len(line) > 1 << 16 for line in protocol._lines] == [False, True]
    assert not protocol._rest
    protocol.data_received(b'{"end": true}\n{"end": true}\n')
    turns.run()
    assert json.loads(transport.written) == {"error": "a line is longer than 65536 bytes"}


def test_no_more_is_read_before_what_is_here_is_taken(start: Callable[[], Engine]) -> None:
    engine, turns, transport = start(), Turns(), Answers()
    protocol = protocol_of(engine, turns)
    protocol.connection_made(cast(asyncio.BaseTransport, transport))
    first = {"command": "reload", "fixed": engine.config.fixed(), "default_firm": "HOUSE"}
    protocol.data_received(json.dumps(first).encode() + b"\n{}\n")
    assert transport.paused
    turns.run()
    assert not transport.paused
    protocol.data_received(b"{}")
    assert not transport.paused
    transport.close()


def test_who_asks_nothing_is_gone_after_a_while_but_a_reload_may_last(start: Callable[[], Engine]) -> None:
    engine, turns = start(), Turns()
    silent, reloading = Answers(), Answers()
    for transport in (silent, reloading):
        protocol = protocol_of(engine, turns)
        protocol.connection_made(cast(asyncio.BaseTransport, transport))
    first = {"command": "reload", "fixed": engine.config.fixed(), "default_firm": "HOUSE"}
    protocol.data_received(json.dumps(first).encode() + b"\n")
    turns.run()
    for time_is_up in turns.later.values():
        time_is_up()
    assert (silent.aborted, reloading.aborted) == (True, False)
    reloading.close()


def test_an_answer_is_written_although_nobody_reads_the_log(
    start: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, transport = Turns(), Answers()
    protocol = protocol_of(start(), turns)
    protocol.connection_made(cast(asyncio.BaseTransport, transport))
    protocol.data_received(b'{"command": "halt", "name": "TEST"}\n')
    reading, writing = os.pipe()
    os.close(reading)
    log = os.fdopen(writing, "w", buffering=1)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", log)
        turns.run()
    with pytest.raises(BrokenPipeError):  # shows that the engine tried to write
        log.close()
    assert json.loads(transport.written) == {"done": "halt", "name": "TEST"}
    assert transport.closed


def test_of_many_refusals_the_log_shows_one_a_second_and_counts_the_others(
    start: Callable[[], Engine], capfd: pytest.CaptureFixture[str]
) -> None:
    engine, turns = start(), Turns()
    visitors = Visitors({}, turns.time)
    for now in (0.0, 0.1, 0.9, 1.1):
        turns.now = now
        transport = Answers()
        protocol = protocol_of(engine, turns, visitors)
        protocol.connection_made(cast(asyncio.BaseTransport, transport))
        protocol.data_received(b'{"command": "nonsense"}\n')
        turns.run()
        assert "error" in json.loads(transport.written)
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition("'nonsense'")[2] for line in lines] == ["", " (2 refusals before it are not shown)"]


def test_who_gets_no_answer_at_all_is_told_so(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(str(tmp_path / "admin.sock"))
        rude.listen()
        closes = threading.Thread(target=lambda: rude.accept()[0].close())
        closes.start()
        with pytest.raises(AdminError, match="without an answer"):
            ask(tmp_path / "admin.sock", {"command": "status"})
        closes.join()


@pytest.mark.parametrize(("asked", "goes_on"), [("reload", True), ("halt", False)])
def test_who_gets_no_answer_in_time_is_told_whether_the_engine_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, goes_on: bool
) -> None:
    monkeypatch.setattr(process_admin, "_RELOAD_TIMEOUT_S" if goes_on else "_TIMEOUT_S", 0.01)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "admin.sock"))
        silent.listen()
        with pytest.raises(AdminError, match=r"no answer in 0\.01 seconds") as told:
            ask(tmp_path / "admin.sock", {"command": asked})
    assert ("the engine may go on with the reload" in str(told.value)) == goes_on


def enter(token: str, side: str = "B", shares: int = 100) -> ouch.EnterOrder:
    return ouch.EnterOrder(token, side, shares, "TEST", PAR)


def test_a_halted_symbol_rejects_until_it_is_resumed_also_after_a_kill(engine: EngineProcess) -> None:
    assert admin(engine, "halt", "TEST")[0] == 0
    engine.stop(signal.SIGKILL)
    engine.start()
    client = Client(engine.port)
    client.send(enter("one"))
    assert client.wait_for(2)[1].reason == "H"
    assert admin(engine, "resume", "TEST")[0] == 0
    client.send(enter("two"))
    assert isinstance(client.wait_for(3)[2], ouch.Accepted)
    client.close()
    feed = b"".join(path.read_bytes() for path in (engine.directory / "itch").iterdir())
    actions = [
        message for message in map(itch.FEED.decode, itch.split_log(feed)) if isinstance(message, itch.TradingAction)
    ]
    assert [action.state for action in actions][:3] == ["T", "H", "T"]


def test_a_killed_account_loses_its_orders_and_may_only_cancel(engine: EngineProcess) -> None:
    client, other = Client(engine.port, "BERT"), Client(engine.port)
    client.send(*(enter(f"{number}") for number in range(250)))
    other.send(enter("mine"))
    client.wait_for(251)
    other.wait_for(2)
    assert admin(engine, "kill", "BERT")[0] == 0
    canceled = client.wait_for(501)[251:]
    assert {(message.reason, message.decrement_shares) for message in canceled} == {("S", 100)}
    assert len({message.token for message in canceled}) == 250
    client.send(enter("again"))
    assert client.wait_for(502)[-1].reason == "a"
    assert admin(engine, "unkill", "BERT")[0] == 0
    client.send(enter("and again", "S"))
    client.wait_for(504)
    assert client.messages[-1].liquidity == "R"
    client.close()
    other.close()


def test_a_busted_trade_is_told_to_both_sides_and_the_market(engine: EngineProcess) -> None:
    client, other = Client(engine.port, "BERT"), Client(engine.port)
    client.send(enter("buy"))
    client.wait_for(2)
    other.send(enter("sell", "S"))
    match = other.wait_for(3)[2].match
    client.wait_for(3)
    code, printed = bust(engine, match)
    assert (code, json.loads(printed)["done"]) == (0, "bust")
    for party, token in ((client, "buy"), (other, "sell")):
        broken = party.wait_for(4)[3]
        assert (type(broken), broken.token, broken.match) == (ouch.BrokenTrade, token, match)
    client.close()
    other.close()


def test_a_trade_of_a_token_beyond_ascii_can_be_busted(engine: EngineProcess) -> None:
    client = Client(engine.port, "BERT")
    order = soupbintcp.unsequenced(ouch.INBOUND.encode(enter("buy")).replace(b"buy ", b"\xffb\xe9 "))
    client.socket.sendall(order)
    client.send(enter("sell", "S"))
    match = client.wait_for(5)[4].match
    assert bust(engine, match)[0] == 0
    assert [broken.token for broken in client.wait_for(7)[5:]] == ["sell", "\xffb\xe9"]
    client.close()


def test_the_next_day_ends_sessions_and_begins_another(engine: EngineProcess) -> None:
    client = Client(engine.port)
    client.send(enter("one"))
    client.wait_for(2)
    assert said(engine, b'{"command": "status"}\n')["session_messages"] == 1
    assert admin(engine, "next-day")[0] == 0
    client.wait(lambda: False)
    assert [type(message).__name__ for message in client.messages[2:]] == ["Canceled", "SystemEvent"]
    again = Client(engine.port)
    assert again.login != client.login
    assert said(engine, b'{"command": "status"}\n')["session_messages"] == 0, "nobody has ordered in this session"
    again.send(enter("one"))
    assert [type(message).__name__ for message in again.wait_for(2)] == ["SystemEvent", "Accepted"]
    again.close()


def test_orders_of_who_does_not_come_back_after_a_crash_are_canceled(tmp_path: Path) -> None:
    engine = EngineProcess(
        tmp_path, **{"accounts.ANNA": {"cancel_on_disconnect": True}, "order_entry": {"reconnect_grace_s": 0}}
    )  # fmt: skip
    with engine:
        client = Client(engine.port)
        client.send(enter("one"))
        client.wait_for(2)
        engine.stop(signal.SIGKILL)
        client.wait(lambda: False)
        engine.start()
        again = Client(engine.port)
        assert isinstance(again.wait_for(3)[2], ouch.Canceled)
        again.close()


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (("halt", "NONE"), "no symbol 'NONE'"),
        (("kill", "NOBODY"), "no account 'NOBODY'"),
        (("bust", "x"), "match number"),
        (("bust", "99"), "no kept reply"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(
    shared_engine: EngineProcess, asked: tuple[str, str], complaint: str
) -> None:
    code, printed = admin(shared_engine, *asked)
    assert code == 2
    assert complaint in printed


def test_the_admin_socket_is_for_the_engines_user_and_takes_no_nonsense(engine: EngineProcess) -> None:
    path = engine.directory / "admin.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    deep = b'{"name":' + b"[" * 60_000 + b"\n"
    for nonsense in (b"\n", b"[]\n", b'{"command": 7}\n', b"\xff\n", b"x" * 70_000 + b"\n", deep):
        assert "error" in said(engine, nonsense)
    engine.stop()
    assert "is the engine running" in admin(engine, "halt", "TEST")[1]


PARTY = ["ANNA", "one", "TEST"]


@pytest.mark.parametrize(
    "request_",
    [
        {"command": "halt", "name": 7},
        {"command": "halt", "name": "TÉST"},
        {"command": "halt", "name": "\ud800"},
        {"command": ["bust"], "match": 1, "parties": [PARTY]},
        {"command": "bust", "match": True, "parties": [PARTY]},
        {"command": "bust", "match": 1.5, "parties": [PARTY]},
        {"command": "bust", "match": -1, "parties": [PARTY]},
        {"command": "bust", "match": 0, "parties": [PARTY]},
        {"command": "bust", "match": 1 << 64, "parties": [PARTY]},
        {"command": "bust", "match": 1},
        {"command": "bust", "match": 1, "parties": []},
        {"command": "bust", "match": 1, "parties": [PARTY] * 3},
        {"command": "bust", "match": 1, "parties": [1]},
        {"command": "bust", "match": 1, "parties": ["abc"]},
        {"command": "bust", "match": 1, "parties": [PARTY[:2]]},
        {"command": "bust", "match": 1, "parties": [PARTY, ["ANNA", 7, "TEST"]]},
        {"command": "bust", "match": 1, "parties": [PARTY, [["ANNA"], "one", "TEST"]]},
        {"command": "bust", "match": 1, "parties": [PARTY, ["ANNA", "\u0100", "TEST"]]},
        {"command": "bust", "match": 1, "parties": [PARTY, ["ANNA", "x" * 15, "TEST"]]},
        {"command": "bust", "match": 1, "parties": [PARTY, ["ANNA", "one", "TÉST"]]},
        {"command": "bust", "match": 1, "parties": [PARTY, ["NOBODY", "one", "TEST"]]},
    ],
    ids=str,
)
def test_a_refused_line_neither_changes_nor_records_anything(
    shared_engine: EngineProcess, request_: dict[str, Any]
) -> None:
    client = Client(shared_engine.port, sequence=0)
    segment = max((shared_engine.directory / "journal").glob("*.journal"))
    before = journal.end_of(segment)
    assert "error" in said(shared_engine, json.dumps(request_).encode() + b"\n")
    assert journal.end_of(segment) == before
    client.send(enter(f"{before}"), enter(f"{before + 1}", "S"))
    assert [type(message).__name__ for message in client.wait_for(4)] == [
        "Accepted", "Accepted", "Executed", "Executed",
    ]  # fmt: skip
    client.close()
