"""Reloads the engine's configuration with a million open orders, while a client trades.

The reload counts the million orders, which belong to one account. It also removes an account and adds a symbol.
Meanwhile a second account enters and cancels orders. No step of the reload may take longer than 1 ms, and no client may
lose its connection. A replay of the journal must give the second account the same messages.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from trading_engine.wire import ouch, soupbintcp

from tests.benchmarks import orderflow, processes, variants
from tests.benchmarks.gateway import RESTING_ANSWER_BYTES, filled
from tests.proofs.evidence import Evidence

_VARIANTS = ("compiled", "pure")
_STEP_NS = 1_000_000
_BEFORE = 5_000
_HEARTBEAT_EVERY = 500


def prove(orders: int) -> Path:
    """Reload with this many open orders, once with each variant of the engine. Write the record and return its path.

    Raises AssertionError when a step takes more than 1 ms, or when the replay gives other messages. Raises
    ConnectionError when a client loses its connection.
    """
    evidence = Evidence("reload", orders)
    for variant in _VARIANTS[evidence.done :]:
        evidence.add(_reload(variant, orders))
        print(f"{evidence.done} of {len(_VARIANTS)}: {evidence.results[-1]}", file=sys.stderr)
    return evidence.finish({"open_orders": orders, "reloads": evidence.results})


class _Trader:
    """A client that enters one order, cancels it, and then enters the next. It stores all answers.

    From time to time it also sends heartbeats on the connections `silent`, so that they stay open.
    """

    def __init__(self, sock: socket.socket, silent: tuple[socket.socket, ...]) -> None:
        self._sock = sock
        self._silent = silent
        self._splitter = soupbintcp.Splitter()
        self._number = 0
        self.messages: list[bytes] = []

    def trade(self) -> None:
        """Enter an order, cancel it, and read both answers. Raises ConnectionError when the engine disconnects."""
        token = f"T{self._number:013d}"
        self._number += 1
        if self._number % _HEARTBEAT_EVERY == 0:
            for each in self._silent:
                each.sendall(soupbintcp.packet(soupbintcp.CLIENT_HEARTBEAT))
        for order in (ouch.EnterOrder(token, "B", 1, "S1", orderflow.MID_E4 - 50_000), ouch.CancelOrder(token, 0)):
            self._sock.sendall(orderflow.frame(order))
            self.read(len(self.messages) + 1)

    def read(self, count: int) -> None:
        while len(self.messages) < count:
            received = self._sock.recv(1 << 16)
            if not received:
                raise ConnectionError(f"disconnected after {len(self.messages)} messages")
            packets = self._splitter.feed(received)
            self.messages += [payload for kind, payload in packets if kind == soupbintcp.SEQUENCED]


def _reload(variant: str, orders: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="reload-") as name:
        told = Path(name) / "steps.json"
        program = ("tests.proofs.reload_target", str(told))
        with processes.engine(variant, accounts=3, tokens="increasing", program=program) as engine:
            assert engine.directory is not None
            owner, flow = filled(engine, orders)
            with owner, processes.log_in(engine, "B1", 1) as sock, processes.log_in(engine, "B2"):
                trader = _Trader(sock, (owner,))
                for _ in range(_BEFORE):
                    trader.trade()
                config = engine.directory / "engine.toml"
                _change(config)
                answer, meanwhile = _asked(variant, config, trader)
                trader.trade()
                processes.drain(owner)
                processes.round_trips(owner, [(flow.rest(), RESTING_ANSWER_BYTES)])
            digests = [_digest(each, engine.directory / "journal") for each in _VARIANTS]
        assert digests[0] == digests[1], digests
        received = hashlib.sha256(b"".join(map(soupbintcp.sequenced, trader.messages))).hexdigest()
        assert digests[0]["replies"]["B1"] == received, "a replay answers otherwise than the engine did"
        steps = json.loads(told.read_text())
    assert answer["removed"] == ["B2"], answer
    assert answer["symbols"] == ["NEW"], answer
    assert steps["longest_step_ns"] <= _STEP_NS, steps
    return {"variant": variant, **steps, "orders_entered_meanwhile": meanwhile, "sha256": digests[0]}


def _change(config: Path) -> None:
    text = config.read_text()
    begin = text.index("[accounts.B2]")
    text = text[:begin] + text[text.index("[[symbol]]") :]
    text = text.replace("[risk]\n", "[risk]\nmax_open_orders = 2000000\n")
    config.write_text(f'{text}\n[[symbol]]\nname = "NEW"\nreference_price = "5"\n')


def _asked(variant: str, config: Path, trader: _Trader) -> tuple[dict[str, Any], int]:
    """Reload the configuration while the client trades.

    Return the answer of the command, and the number of orders that the client entered during the reload.
    """
    command = [sys.executable, "-m", "trading_engine", "admin", "reload", "--config", str(config)]
    meanwhile = 0
    with subprocess.Popen(command, env=variants.environment(variant), stdout=subprocess.PIPE, text=True) as asking:
        while asking.poll() is None:
            trader.trade()
            meanwhile += 1
        assert asking.stdout is not None
        assert asking.returncode == 0, f"exit code {asking.returncode}"
        answer: dict[str, Any] = json.loads(asking.stdout.read())
    return answer, meanwhile


def _digest(variant: str, journal: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "trading_engine", "replay", str(journal)]
    printed = subprocess.run(command, env=variants.environment(variant), stdout=subprocess.PIPE, check=True).stdout
    digest: dict[str, Any] = json.loads(printed)["sha256"]
    return digest
