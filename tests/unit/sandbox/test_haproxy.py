"""A real HAProxy at a loopback address acts as a Network Load Balancer. Each server behind it returns its own name."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from embedded_ec2 import processes
from embedded_ec2.errors import SandboxError
from embedded_ec2.haproxy import Check, FrontEnd, HAProxy, Pool, Server, render
from embedded_ec2.ledger import Ledger

CHECK = Check("TCP", None, "/", "200-399", interval_s=1, timeout_s=1, rise=2, fall=2)
LIMIT_S = 30.0
needs_haproxy = pytest.mark.skipif(not shutil.which("haproxy"), reason="needs haproxy: apt-get install haproxy")


class Named:
    """A server at a loopback port. It answers every request with the name that it was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while connection.recv(100):
                connection.sendall(self.name.encode())

    def stop(self) -> None:
        # Without this call, a thread that waits in accept() would keep the port open.
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    @property
    def server(self) -> Server:
        return Server(self.name, "127.0.0.1", self.port)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def eventually(holds: Callable[[], object]) -> None:
    ends = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < ends, "it never held"
        time.sleep(0.02)


def said(connection: socket.socket) -> str:
    connection.sendall(b"who?")
    return connection.recv(100).decode()


class Balancer:
    """A load balancer with one listener and one target group."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(directory / "ledger.json")
        self.directory = directory / "haproxy"
        self.haproxy = HAProxy(self.directory, self.ledger)
        self.front_end = FrontEnd("listener", "127.0.0.1", free_port(), "alpha", 350)
        self.pool = Pool("alpha", (), CHECK, "", keeps_client=False, proxy_protocol=False, sticky=False)

    def serve(self, *servers: Named) -> None:
        self.pool = replace(self.pool, servers=tuple(each.server for each in servers))
        # Another group comes first, so that a test fails if the code takes the first group for the right one.
        other = replace(self.pool, name="other", servers=(Server("nobody", "127.0.0.1", 1),))
        self.haproxy.apply([self.front_end], [other, self.pool])

    def up(self) -> set[str]:
        return {name for (pool, name), seen in self.haproxy.servers().items() if pool == "alpha" and seen.is_up}

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.front_end.port), 5)


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    made = Balancer(tmp_path)
    yield made
    made.haproxy.stop()


@pytest.fixture
def two() -> Iterator[list[Named]]:
    made = [Named("first"), Named("second")]
    yield made
    for each in made:
        each.stop()


@needs_haproxy
def test_a_target_takes_sessions_once_it_is_healthy_and_keeps_them_over_reloads(
    balancer: Balancer, two: list[Named]
) -> None:
    first, second = two
    balancer.serve(first)
    assert balancer.up() == set(), "nobody is healthy before the checks"
    eventually(lambda: balancer.up() == {"first"})
    with balancer.connect() as kept:
        assert said(kept) == "first"
        balancer.serve(first, second)
        assert balancer.up() == {"first"}, "health is kept over a reload, and a new target's has to be shown"
        eventually(lambda: balancer.up() == {"first", "second"})
        balancer.serve(second)
        assert said(kept) == "first"
        with balancer.connect() as new:
            assert said(new) == "second"
        assert balancer.haproxy.sessions("alpha", "first") == 1
        balancer.haproxy.cut("alpha", "first")
        assert kept.recv(100) == b""
    eventually(lambda: balancer.haproxy.sessions("alpha", "first") == 0)
    second.stop()
    eventually(lambda: balancer.up() == set())


@needs_haproxy
def test_it_leaves_no_process_and_no_file_and_what_is_in_force_already_changes_nothing(
    balancer: Balancer, two: list[Named]
) -> None:
    balancer.serve(*two)
    pid = int(next(identity for kind, identity in balancer.ledger.entries() if kind == "process").split()[0])
    workers = processes.children(pid)
    balancer.serve(*two)
    assert processes.children(pid) == workers
    balancer.haproxy.stop()
    assert [each for each in (pid, *workers) if processes.start_ticks(each)] == []
    assert not balancer.directory.exists()
    assert balancer.ledger.entries() == []


@needs_haproxy
def test_what_haproxy_does_not_take_is_said_and_changes_nothing(balancer: Balancer, two: list[Named]) -> None:
    balancer.serve(*two)
    with pytest.raises(SandboxError, match=r"(?s)does not take .*nowhere"):
        balancer.haproxy.apply([replace(balancer.front_end, pool="nowhere")], [])
    assert balancer.haproxy.servers()


def test_the_configuration_says_what_the_target_group_says(tmp_path: Path) -> None:
    check = Check("HTTP", 8000, "/health", "200-399", interval_s=5, timeout_s=4, rise=3, fall=2)
    pool = Pool("alpha", (Server("i-1", "10.0.1.4", 9001),), check, "10.0.1.9", True, True, True)
    text = render(tmp_path, [FrontEnd("l-1", "10.0.1.9", 9001, "alpha", 600)], [pool])
    assert "  bind 10.0.1.9:9001\n  timeout client 600s\n  default_backend alpha\n" in text
    assert "  balance source\n  source 10.0.1.9 usesrc clientip\n  timeout check 4s\n" in text
    assert "  http-check send meth GET uri /health\n  http-check expect status 200-399\n" in text
    assert "  server i-1 10.0.1.4:9001 send-proxy-v2 check inter 5s rise 3 fall 2 port 8000\n" in text
    unchecked = render(tmp_path, [], [replace(pool, check=None, source="", sticky=False, proxy_protocol=False)])
    assert unchecked.endswith("backend alpha\n  balance roundrobin\n  server i-1 10.0.1.4:9001\n")
