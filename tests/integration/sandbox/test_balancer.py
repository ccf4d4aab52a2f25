"""A load balancer in the sandbox's router, with real firewall rules and a real HAProxy.

Network namespaces, each with a server, replace the machines.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from embedded_ec2 import processes
from embedded_ec2.firewall import Balanced, Guarded, Rule, render
from embedded_ec2.haproxy import Check, FrontEnd, HAProxy, Pool, Server
from embedded_ec2.ledger import Ledger
from embedded_ec2.network import Leg, Router, Subnet

from .conftest import eventually

PORT, ADDRESS = 9001, "10.209.1.9"
SUBNET = Subnet("subnet-0000000000209ba1a", IPv4Network("10.209.1.0/24"))
LEGS = [
    Leg(f"i-0000000000209ba{number}a", SUBNET, f"02:00:00:00:09:0{number}", IPv4Address(f"10.209.1.{number}"))
    for number in (4, 5)
]
# A server. It sends each client its own name and the client's address, and then returns every line that it gets.
SERVER = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(f"{sys.argv[1]} {self.client_address[0]}\\n".encode())
        for line in self.rfile:
            self.wfile.write(line)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("", 9001), Handler).serve_forever()
"""
CLIENT = "import socket; print(socket.create_connection(('10.209.1.9', 9001), 3).makefile().readline(), end='')"
CHECK = Check("TCP", None, "/", "200-399", interval_s=1, timeout_s=1, rise=1, fall=1)
EVERYTHING = (Rule("-1", None, None, (IPv4Network("0.0.0.0/0"),)),)
BALANCER_GROUP = "sg-entry"


class Net:
    """A router, two network namespaces with a server each, and a balancer in front of the two servers."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(directory / "ledger.json")
        self.router = Router("test-balancer", 5, self.ledger)
        self.haproxy = HAProxy(directory / "haproxy", self.ledger, netns=self.router.netns)
        self.servers: list[subprocess.Popen[bytes]] = []

    def open(self) -> None:
        self.router.open()
        self.router.connect(SUBNET)
        for leg in LEGS:
            self.router.plug_in_namespace(leg)
            argv = ["ip", "netns", "exec", leg.netns, sys.executable, "-c", SERVER, leg.instance_id]
            self.servers.append(subprocess.Popen(argv))
        self.keeps_clients = self.router.bring_replies_back()
        self.router.hold(ADDRESS)
        self.guard(EVERYTHING)
        self.balance(*LEGS)

    def guard(self, ingress: tuple[Rule, ...], entry: tuple[Rule, ...] | None = None) -> None:
        guarded = [Guarded(leg.router_link, leg.private_address, None, ingress, EVERYTHING) for leg in LEGS]
        self.router.guard(render(guarded, [Balanced(ADDRESS, frozenset({BALANCER_GROUP}), entry)]))

    def balance(self, *legs: Leg) -> None:
        servers = tuple(Server(leg.instance_id, str(leg.private_address), PORT) for leg in legs)
        pool = Pool("alpha", servers, CHECK, ADDRESS, self.keeps_clients, proxy_protocol=False, sticky=False)
        self.haproxy.apply([FrontEnd("listener", ADDRESS, PORT, "alpha", 350)], [pool])
        eventually(lambda: self.up() == {leg.instance_id for leg in legs}, 30)

    def up(self) -> set[str]:
        return {name for (_, name), seen in self.haproxy.servers().items() if seen.is_up}

    def ask(self) -> list[str]:
        """Connect to the balancer and return two words.

        The first is the name of the server that answers. The second is the client address that the server sees.
        """
        with socket.create_connection((ADDRESS, PORT), 3) as connection:
            return connection.makefile().readline().split()

    def ask_from(self, leg: Leg) -> list[str]:
        argv = ["ip", "netns", "exec", leg.netns, sys.executable, "-c", CLIENT]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout.split()

    def close(self) -> None:
        for server in self.servers:
            server.kill()
            server.wait()
        self.haproxy.stop()
        self.ledger.undo_all()


@pytest.fixture(scope="module")
def net(_machines_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    if not shutil.which("haproxy"):
        pytest.skip("no haproxy; `apt-get install haproxy`")
    made = Net(tmp_path_factory.mktemp("balancer"))
    try:
        made.open()
        yield made
    finally:
        made.close()


def test_a_target_sees_its_clients_address(net: Net) -> None:
    assert net.keeps_clients
    answers = [net.ask() for _ in LEGS]
    assert {name for name, _ in answers} == {leg.instance_id for leg in LEGS}
    assert {seen for _, seen in answers} == {str(SUBNET.gateway)}
    net.balance(LEGS[0])
    assert net.ask_from(LEGS[1]) == [LEGS[0].instance_id, str(LEGS[1].private_address)]


def test_a_session_outlives_a_reload_and_new_ones_go_to_the_new_target(net: Net) -> None:
    net.balance(LEGS[0])
    with socket.create_connection((ADDRESS, PORT), 3) as session:
        lines = session.makefile()
        assert lines.readline().split()[0] == LEGS[0].instance_id
        net.balance(LEGS[1])
        assert net.ask()[0] == LEGS[1].instance_id
        session.sendall(b"still\n")
        assert lines.readline() == "still\n"


def test_security_groups_of_both_sides_hold(net: Net) -> None:
    net.balance(LEGS[0])
    here, balancer = (IPv4Network(f"{address}/32") for address in (SUBNET.gateway, ADDRESS))
    net.guard((Rule("tcp", PORT, PORT, (here, balancer)),))
    assert net.ask()
    assert net.ask_from(LEGS[1]) == [], "the target's rules do not let its client in"
    net.guard((Rule("tcp", PORT, PORT, (), (), BALANCER_GROUP),))
    assert net.ask_from(LEGS[1]), "whatever comes through the balancer comes from its group"
    net.guard(EVERYTHING, entry=(Rule("tcp", PORT, PORT, (here,)),))
    assert net.ask()
    assert net.ask_from(LEGS[1]) == [], "the balancer's rules do not let it in"
    net.guard(EVERYTHING)


def test_after_a_kill_clean_up_finds_the_workers_too(net: Net) -> None:
    entries = [identity for kind, identity in net.ledger.entries() if kind == "process"]
    assert processes.inside(net.router.netns)
    os.kill(int(entries[0].split()[0]), signal.SIGKILL)
    eventually(lambda: not net.haproxy.is_running)  # its worker processes may live on
    for kind, identity in net.ledger.entries():
        if kind in ("process", "netns-processes"):
            net.ledger.undo(kind, identity)
    assert processes.inside(net.router.netns) == []
