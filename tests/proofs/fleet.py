"""Deploys a host with two partitions. Each must trade only its own symbols.

A change that takes a symbol from a partition must be refused while the symbol's orders are open. The sandbox's machine
has only two CPUs, so neither engine has a CPU of its own.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trading_engine.host.runs import run_prefix
from trading_engine.wire import itch, ouch, soupbintcp

from tests.e2e.deployment import Deployment, Play, addresses
from tests.proofs.evidence import ROOT, Evidence

_SOURCES = [ROOT / name for name in ("roles", "playbooks", "plugins", "files/engine/src")]
_LIMIT_S = 20
_SYMBOLS = {"alpha": ("TEST", "AAPL"), "beta": ("TEST2", "MSFT")}
_PORTS = {"alpha": (9001, 9002), "beta": (9011, 9012)}
_PRICE_E4 = 950_000
_DECLARED: list[dict[str, Any]] = [
    {"name": "alpha", "symbols": list(_SYMBOLS["alpha"]), "pinned": False},
    {"name": "beta", "symbols": list(_SYMBOLS["beta"]), "pinned": False, "test_symbol": "TEST2"},
]
_EVERY = [symbol for symbols in _SYMBOLS.values() for symbol in symbols]
_MOVED = [{**_DECLARED[0], "symbols": ["TEST", "AAPL", "MSFT"]}, {**_DECLARED[1], "symbols": ["TEST2"]}]
_MOVE = "playbooks/move_symbol.yml"
_ALPHA_ALONE = [{**_DECLARED[0], "symbols": _EVERY}]
_SETTINGS: dict[str, Any] = {
    "trading_instance_type": "c6g.large",
    "trading_budget_usd": 100,
    "trading_backup": "none",
    "trading_engine_symbols": [{"name": name, "reference_price": "100.00"} for name in _EVERY],
    "slo_duration_s": 3,
    "slo_enforce": "report",
}


def prove(hosts: int) -> Path:
    """Test this number of hosts. Write the record and return its path.

    Raises AssertionError when a partition trades a symbol of another partition.
    """
    evidence = Evidence("fleet", hosts, _SOURCES)
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        deployment = Deployment(Path(name), sandbox="fleet", addresses=addresses(74))
        while evidence.done < hosts:
            try:
                deployment.down()  # an interrupted proof may have left a sandbox
                deployment.up()
                evidence.add(_Host(deployment).judged())
            finally:
                deployment.down()
    return evidence.finish({"hosts": evidence.results})


class _Host:
    """A deployed host, and the steps of the proof on this host."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._prefix = run_prefix().decode("ascii")
        self._play("site.yml", _DECLARED, slo_verify="never")
        self._address = deployment.host()["ansible_host"]
        self._password = self._run("sudo", "cat", "/etc/trading/secrets/BENCH.password").strip()

    def judged(self) -> dict[str, Any]:
        assert self._units() == ["trading-engine@alpha.service", "trading-engine@beta.service"]
        again = self._play("site.yml", _DECLARED, slo_verify="never")
        assert again.count("changed") == 0, again.output[-4000:]
        traded = {name: self._traded(name) for name in _SYMBOLS}
        measured = self._measured()
        for name in _SYMBOLS:
            self._run("curl", "--fail", "--silent", f"http://127.0.0.1:8000/health?partition={name}")
        self._restore()  # two orders are open in each partition
        assert len(self._units()) == 2
        for partitions, given_up in ((_MOVED, "MSFT"), (_ALPHA_ALONE, "MSFT, TEST2")):
            said = self._refused("playbooks/configure.yml", partitions)
            assert "trading-engine@beta.service" in said, said
            assert f"is to give up {given_up}, and its book is open (2 orders)" in said, said
        assert len(self._units()) == 2, "what was refused changed nothing"
        self._move()
        self._prefix = run_prefix().decode("ascii")  # tokens must increase, and the measurement used higher ones
        moved = {name: self._entered(name, len(_EVERY), "MSFT") for name in _SYMBOLS}
        # Beta's engine still runs. It has given up the symbol, so it answers "restricted" (c), and not "unknown symbol"
        # (S).
        assert moved == {"alpha": "A", "beta": "J c"}, moved
        self._play("playbooks/configure.yml", _ALPHA_ALONE)
        assert self._units() == ["trading-engine@alpha.service"]
        kept = self._run("sudo", "find", "/var/lib/trading/beta/journal", "-type", "f").split()
        assert kept, "the journal of a partition that is gone stays"
        said = self._refused("playbooks/configure.yml", [])
        assert "this host has trading-engine@alpha.service, and trading_partitions is empty" in said, said
        return {"traded": traded, "moved": moved, "measured": measured, "files_kept_of_beta": len(kept)}

    def _play(self, playbook: str, partitions: list[dict[str, Any]], **variables: Any) -> Play:
        print(f"{playbook}, {len(partitions)} partition(s)", file=sys.stderr)
        done = self._deployment.play(playbook, **{**_SETTINGS, "trading_partitions": partitions, **variables})
        assert done.exit_code == 0, done.output[-6000:]
        return done

    def _refused(self, playbook: str, partitions: list[dict[str, Any]], **variables: Any) -> str:
        done = self._deployment.play(playbook, **{**_SETTINGS, "trading_partitions": partitions, **variables})
        assert done.exit_code != 0, f"{playbook} was not refused"
        assert done.count("changed") == 0, done.output[-4000:]
        return done.output

    def _run(self, *command: str) -> str:
        done = self._deployment.ssh(self._address, *command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _units(self) -> list[str]:
        """Return the names of the systemd units whose engines run, sorted."""
        listed = self._run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "trading-engine*")
        return sorted(line.split()[0] for line in listed.splitlines())

    def _traded(self, partition: str) -> dict[str, Any]:
        """Enter an order in each symbol at one partition.

        Return the partition's answers, and the stocks that its feed shows. Raises AssertionError unless only the
        partition's own symbols are accepted and shown.
        """
        answers = {symbol: self._entered(partition, number, symbol) for number, symbol in enumerate(_EVERY)}
        shown = self._shown(_PORTS[partition][1])
        own = set(_SYMBOLS[partition])
        assert answers == {symbol: "A" if symbol in own else "J S" for symbol in _EVERY}, (partition, answers)
        assert shown == own, (partition, shown)
        return {"answers": answers, "shown": sorted(shown)}

    def _measured(self) -> dict[str, list[str]]:
        """Measure both partitions. Return for each partition a line about each target.

        The proof does not fail when a target is missed. The machine also runs other programs, so its latency proves
        nothing.
        """
        self._play("playbooks/verify.yml", _DECLARED, slo_verify="always")
        verdicts = {}
        for name in _SYMBOLS:
            (path,) = self._deployment.reports.glob(f"*-{name}.json")
            report = json.loads(path.read_text(encoding="utf-8"))
            assert report["partition"] == name
            assert report["load"]["orders_answered"] > 0, report["verdict"]
            verdicts[name] = [f"{row['name']}: {row['measured']}" for row in report["verdict"]]
        return verdicts

    def _restore(self) -> None:
        """Make a backup of both partitions. Then restore it."""
        kept = {"trading_backup_dir": str(self._deployment.work / "backups")}
        self._play("playbooks/backup.yml", _DECLARED, **kept)
        (host,) = self._deployment.inventory()["trading"]["hosts"]
        self._play("playbooks/restore.yml", _DECLARED, **kept, trading_engine_restore_confirm=host)

    def _move(self) -> None:
        """Move the symbol MSFT to alpha. First try to move it in each state in which the move must be refused.

        The move must be allowed by two things: the list of partitions, and the state of both engines.
        """
        move = {"trading_engine_move_symbol": "MSFT", "trading_engine_move_to": "alpha"}
        said = self._refused(_MOVE, _DECLARED, **move)
        assert "Write symbols: [TEST, AAPL, MSFT] at alpha and symbols: [TEST2] at beta" in said, said
        said = self._refused(_MOVE, _MOVED, **move)
        assert "is to give up MSFT, and its book is open (2 orders)" in said, said
        for name in _SYMBOLS:
            self._cancel(name)
        with self._login(_PORTS["alpha"][0]):
            said = self._refused(_MOVE, _MOVED, **move)
            assert "has 1 connected clients: end their sessions" in said, said
        said = self._refused(_MOVE, _MOVED, **move)
        assert "end the day there" in said, said
        for name in _SYMBOLS:
            self._end_day(name)
        processes = self._processes()
        self._play(_MOVE, _MOVED, **move)
        assert self._processes() == processes, "a symbol moves without a restart"
        for playbook in (_MOVE, "site.yml"):
            again = self._play(playbook, _MOVED, **move, slo_verify="never")
            assert again.count("changed") == 0, again.output[-4000:]

    def _end_day(self, partition: str) -> None:
        """Begin the partition's next session. Wait until its engine reports another session's name."""
        admin = ("sudo", "/opt/trading/current/bin/trading-engine", "admin")
        config = ("--config", f"/etc/trading/engine-{partition}.toml")
        before = json.loads(self._run(*admin, *config, "status"))["session"]
        self._run(*admin, *config, "next-day")
        ends_s = time.monotonic() + _LIMIT_S
        while json.loads(self._run(*admin, *config, "status"))["session"] == before:
            assert time.monotonic() < ends_s, f"the day of {partition} never ends"

    def _processes(self) -> list[str]:
        """Return the process ids of the engines."""
        return self._run("systemctl", "show", "--property=MainPID", "--value", *self._units()).split()

    def _cancel(self, partition: str) -> None:
        """Cancel the orders that `_traded` has entered at this partition."""
        with self._login(_PORTS[partition][0]) as link:
            for number in range(len(_EVERY)):
                link.send(soupbintcp.unsequenced(ouch.INBOUND.encode(ouch.CancelOrder(self._token(number)))))
            for _symbol in _SYMBOLS[partition]:
                while link.next()[:1] != b"C":
                    pass

    @contextlib.contextmanager
    def _login(self, port: int, sequence: int = 0) -> Iterator[_Link]:
        link = _Link(self._address, port)
        with contextlib.closing(link):
            link.send(soupbintcp.login_request("BENCH", self._password, sequence=sequence))
            kind, payload = link.packet()
            assert kind == soupbintcp.LOGIN_ACCEPTED, (port, payload)
            yield link

    def _token(self, number: int) -> str:
        """Return the token for the order with this number. `_cancel` uses the same token again."""
        return f"{self._prefix}{number:07d}"

    def _entered(self, partition: str, number: int, symbol: str) -> str:
        """Enter an order that will rest.

        Return the first letter of the answer. After a rejection, return the letter of its reason as well.
        """
        order = ouch.EnterOrder(self._token(number), "B", 100, symbol, _PRICE_E4)
        with self._login(_PORTS[partition][0]) as link:
            link.send(soupbintcp.unsequenced(ouch.INBOUND.encode(order)))
            answer = ouch.OUTBOUND.decode(link.next())
        return f"J {answer.reason}" if isinstance(answer, ouch.Rejected) else type(answer).__name__[0]

    def _shown(self, port: int) -> set[str]:
        """Read the feed from its beginning until it sends only heartbeats. Return the stocks of all orders in it."""
        stocks: set[str] = set()
        ends_s = time.monotonic() + _LIMIT_S
        with self._login(port, sequence=1) as link:
            kind, payload = link.packet()
            while kind != soupbintcp.SERVER_HEARTBEAT:
                assert time.monotonic() < ends_s, f"the feed on port {port} is never quiet"
                if kind == soupbintcp.SEQUENCED:
                    message = itch.FEED.decode(payload)
                    if isinstance(message, itch.AddOrder):
                        stocks.add(message.stock.strip())
                kind, payload = link.packet()
        return stocks


class _Link:
    """A connection to an engine or a feed, with the session protocol SoupBinTCP."""

    def __init__(self, address: str, port: int) -> None:
        self._connection = socket.create_connection((address, port), _LIMIT_S)
        self._splitter = soupbintcp.Splitter()
        self._packets: list[tuple[int, bytes]] = []

    def close(self) -> None:
        self._connection.close()

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def packet(self) -> tuple[int, bytes]:
        while not self._packets:
            data = self._connection.recv(65536)
            assert data, "the connection was closed"
            self._packets = self._splitter.feed(data)
        return self._packets.pop(0)

    def next(self) -> bytes:
        """Wait for the next sequenced message of the server and return it."""
        while True:
            kind, payload = self.packet()
            if kind == soupbintcp.SEQUENCED:
                return payload
