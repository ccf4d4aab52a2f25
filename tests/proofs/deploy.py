"""Deploys releases to a running engine, one after the other. A release with a fault must be rolled back.

Meanwhile a client enters and cancels orders. When it loses its connection, it connects again and asks for the next
message. It must receive every message exactly once. It measures how long it had no connection. The modules of
deploy.yml make the switch to each release. A script that replaces systemctl starts and stops the engine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from trading_engine.wire import ouch, soupbintcp

from tests.benchmarks import variants
from tests.proofs.evidence import ROOT, Evidence
from tests.unit.engine.process import PASSWORD
from tests.unit.engine.releases import FAULTS, Host

_AWAY_MS = 2_000
_RESTING = 100_000
_PAUSE_S = 0.002
_A_PIECE = 5
_WATCHED_S = 2.0
_PRICE_E4 = 990_000
_SOURCES = [ROOT / "files/engine/src/trading_engine", ROOT / "plugins/module_utils/release"]


def prove(upgrades: int) -> Path:
    """Deploy this many releases. Write the record and return its path.

    Raises AssertionError when a message is lost, or when the client has no connection for more than 2 s.
    """
    evidence = Evidence("deploy", upgrades, _SOURCES)
    if not evidence.done:
        with tempfile.TemporaryDirectory(prefix="deploy-") as name:
            evidence.add(_life(Path(name), upgrades))
    found: dict[str, Any] = evidence.results[0]
    return evidence.finish(found)


class _Trader:
    """A client that sends orders. When its session ends, it connects again as soon as the port accepts connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._splitter = soupbintcp.Splitter()
        self._ends = threading.Event()
        self._token = 0
        self.packets = hashlib.sha256()
        self.messages = self.accepted = self.rejected = self.sent = self.logins = 0
        self.away_ms: list[float] = []
        self.without_orders_ms: list[float] = []
        self._taken_s = time.monotonic()
        self._closed = self._is_idle = False
        self.problem = ""
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Trader:
        self._thread.start()
        return self

    def __exit__(self, *what: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ends.is_set():
                with contextlib.closing(self._connected()) as connection:
                    self._trade(connection)
            with contextlib.closing(self._connected()) as connection:
                self._read_the_rest(connection)
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"

    def _connected(self) -> socket.socket:
        gone_s = time.monotonic()
        while True:
            connection = socket.socket()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                connection.connect(("127.0.0.1", self._port))
                connection.sendall(soupbintcp.login_request("ANNA", PASSWORD, "", self.messages + 1))
                self._splitter = soupbintcp.Splitter()
                first = connection.recv(1 << 16)
                # One of the faults is a release that rejects every login. Then the client tries again.
                if first and first[2] != soupbintcp.LOGIN_REJECTED:
                    break
            except ConnectionError:
                pass
            connection.close()
            time.sleep(0.005)  # a client waits between two attempts
        if self.logins:
            self.away_ms.append((time.monotonic() - gone_s) * 1000)
        self.logins += 1
        self._take(first)
        return connection

    def _read_the_rest(self, connection: socket.socket) -> None:
        """Read until the first heartbeat. The engine sends one only when it has no other message for the client."""
        while not self._is_idle:
            self._take(connection.recv(1 << 16))

    def _trade(self, connection: socket.socket) -> None:
        next_s = time.monotonic()
        while not self._ends.is_set():
            wait_s = max(0.0, next_s - time.monotonic())
            readable, _, _ = select.select([connection], [], [], wait_s)
            try:
                if readable:
                    data = connection.recv(1 << 16)
                    if not data or self._take(data):
                        return
                if time.monotonic() >= next_s:
                    connection.sendall(self._piece())
                    next_s += _PAUSE_S
            except ConnectionError:
                return

    def _piece(self) -> bytes:
        """Return the bytes of some orders, and of messages that cancel them. One order in a hundred stays open."""
        data = b""
        for number in range(_A_PIECE):
            self._token += 1
            token = f"T{self._token:013d}"
            data += _framed(ouch.EnterOrder(token, "B", 1, "TEST", _PRICE_E4))
            if self._token % 100 or number != _A_PIECE - 1:
                data += _framed(ouch.CancelOrder(token, 0))
        self.sent += _A_PIECE
        return data

    def _take(self, data: bytes) -> bool:
        """Count the messages in `data`. Return whether the session has ended."""
        for kind, payload in self._splitter.feed(data):
            if kind == soupbintcp.LOGIN_ACCEPTED:
                number = soupbintcp.parse_login_accepted(payload).sequence
                assert number == self.messages + 1, f"message {self.messages + 1} was asked for, {number} comes next"
            elif kind == soupbintcp.SEQUENCED:
                self.messages += 1
                self.packets.update(soupbintcp.sequenced(payload))
                self._count(payload[:1])
            elif kind == soupbintcp.SERVER_HEARTBEAT:
                self._is_idle = self._ends.is_set()
            elif kind == soupbintcp.END_OF_SESSION:
                return True
        return False

    def _count(self, letter: bytes) -> None:
        if letter == b"A":
            self.accepted += 1
            if self._closed:
                self.without_orders_ms.append((time.monotonic() - self._taken_s) * 1000)
            self._closed = False
            self._taken_s = time.monotonic()
        elif letter == b"J":
            self.rejected += 1
            self._closed = True


def _life(directory: Path, upgrades: int) -> dict[str, Any]:
    """Deploy this many good releases, then one release with each kind of fault. Return the client's observations."""
    # With this budget the engine deletes no segment of the journal. At the end the whole journal can be replayed.
    host = Host(directory, journal={"segment_bytes": 16 << 20, "budget_bytes": 8 << 30})
    compiled = variants.compiled()
    host.install("r0", sources=compiled)
    host.start("r0")
    steps: list[dict[str, Any]] = []
    try:
        _fill(host.engine.port)
        with _Trader(host.engine.port) as trader:
            wanted = [(f"r{number}", "") for number in range(1, upgrades + 1)]
            for release, fault in [*wanted, *((f"f{number}", fault) for number, fault in enumerate(FAULTS))]:
                host.install(release, *((FAULTS[fault][0],) if fault else ("", compiled)))
                steps.append(_step(host, trader, release, fault))
                print(f"{release}: {steps[-1]}", file=sys.stderr)
            _watch(trader)
        assert not trader.problem, trader.problem
        received = trader.packets.hexdigest()
        host.systemctl("stop")
    finally:
        host.end()
    done = subprocess.run(
        [host.root / "current/bin/trading-engine", "replay", "--any-version", host.engine.directory / "journal"],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    replayed = json.loads(done.stdout)["sha256"]["replies"]["ANNA"]
    assert replayed == received, "the client has not received what the journal says, once and in order"
    whole = [step for step in steps if not step["fault"]]
    assert max(step["away_ms"] for step in whole) <= _AWAY_MS, steps
    return {
        "open_orders": _RESTING,
        "load_average": [round(each, 1) for each in os.getloadavg()],
        "orders_sent": trader.sent,
        "accepted": trader.accepted,
        "rejected_while_closed": trader.rejected,
        "messages_received_once_and_in_order": trader.messages,
        "sha256": received,
        "longest_away_ms": max(step["away_ms"] for step in whole),
        "longest_without_orders_ms": max(step["without_orders_ms"] for step in whole),
        "steps": steps,
    }


def _step(host: Host, trader: _Trader, release: str, fault: str) -> dict[str, Any]:
    """Switch to a release with the modules of deploy.yml. Return what the client observed.

    A release without a fault is first tried with the journal, as deploy.yml does. A release with a fault skips this
    trial, so that the switch itself must detect the fault.
    """
    _watch(trader)
    before = len(trader.away_ms), len(trader.without_orders_ms)
    if not fault:
        tried = _module(host, "release_trial", release=release, reserve_bytes=0)
        assert "msg" not in tried, tried
    account = {"account": "BERT", "password_file": str(host.password), "limit_s": 10}
    said = _module(host, "release_switch", release=release, **account)
    assert bool(said.get("msg")) == bool(fault), said
    assert not fault or "runs again and takes orders; the new one took none" in said["msg"], said
    _watch(trader)
    away, without = trader.away_ms[before[0] :], trader.without_orders_ms[before[1] :]
    assert away, "the client did not notice anything"
    return {
        "release": release,
        "fault": fault,
        "sessions": len(away),
        "away_ms": round(max(away)),
        "without_orders_ms": round(max(without, default=0)),
    }


def _watch(trader: _Trader) -> None:
    """Let the client trade for some seconds.

    Raises AssertionError when the engine accepts no order for a minute.
    """
    accepted, end_s = trader.accepted, time.monotonic() + 60
    time.sleep(_WATCHED_S)
    while trader.accepted == accepted:
        assert time.monotonic() < end_s, trader.problem or "no order was accepted for a minute"
        time.sleep(0.1)


def _module(host: Host, name: str, **more: object) -> dict[str, Any]:
    """Run a module in a process of its own, as Ansible does. Return the module's result."""
    arguments = {"ANSIBLE_MODULE_ARGS": {**host.arguments, **more}}
    code = (
        "import importlib, json, sys; from ansible.module_utils.testing import patch_module_args\n"
        f"module = importlib.import_module('ansible_collections.lowlatency.trading.plugins.modules.{name}')\n"
        "with patch_module_args(json.load(sys.stdin)['ANSIBLE_MODULE_ARGS']): module.main()"
    )
    environment = {**os.environ, "PATH": f"{host.programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(arguments), env=environment, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _fill(port: int) -> None:
    """Enter many resting orders with another account. The engine then has a large state to write and to load."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(soupbintcp.login_request("BERT", PASSWORD, "", 1))
        splitter, answered, sent = soupbintcp.Splitter(), 0, 0
        while answered < _RESTING:
            while sent < _RESTING and sent - answered < 500:
                piece = (ouch.EnterOrder(f"R{sent + each:013d}", "B", 1, "TEST", 10_000 + 100 * (sent % 500))
                         for each in range(100))  # fmt: skip
                connection.sendall(b"".join(map(_framed, piece)))
                sent += 100
            kinds = [kind for kind, payload in splitter.feed(connection.recv(1 << 16)) if payload[:1] == b"A"]
            answered += kinds.count(soupbintcp.SEQUENCED)


def _framed(message: tuple[Any, ...]) -> bytes:
    return soupbintcp.unsequenced(ouch.INBOUND.encode(message))
