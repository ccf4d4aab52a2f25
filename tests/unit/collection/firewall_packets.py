"""Sends packets through firewall rules, and prints the outcome of each as JSON.

This program reads the rules from standard input. It must run in a network namespace of its own:
`unshare --map-root-user --net python -m …`. It makes a second network namespace for the clients.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

NFT = "/usr/sbin/nft"
CLONE_NEWNET = 0x40000000
LIMIT_S = 30.0
HOST, CLIENT, OPERATOR, GENERATOR = "198.18.78.1", "198.18.78.2", "198.18.78.3", "198.18.78.4"
HOST_IPV6, CLIENT_IPV6 = "fd00:78::1", "fd00:78::2"
ORDERS, SSH, TELEMETRY, OTHER = 9001, 22, 8000, 9999
# Rules of another program. Connections to order entry are not tracked. Connections to another port are redirected to
# order entry.
OF_OTHERS = f"""
table ip others {{
  chain early {{ type filter hook prerouting priority -400; tcp dport {ORDERS} notrack; }}
  chain led {{ type nat hook prerouting priority dstnat; tcp dport {OTHER} redirect to :{ORDERS}; }}
}}
"""
MEASURES = f"add element inet trading generators {{ {GENERATOR} timeout 1m }}"
# The cases. Each has a name, the client's address, the destination's address and port, and rules that are loaded
# before.
CASES = [
    ("a client", CLIENT, HOST, ORDERS, ""),
    ("a client over IPv6", CLIENT_IPV6, HOST_IPV6, ORDERS, ""),
    ("loopback", "127.0.0.1", "127.0.0.1", ORDERS, ""),
    ("the host itself", HOST, HOST, ORDERS, ""),
    ("a generator that does not measure", GENERATOR, HOST, ORDERS, ""),
    ("a generator that measures", GENERATOR, HOST, ORDERS, MEASURES),
    ("no client", OPERATOR, HOST, ORDERS, ""),
    ("no client, untracked by others", OPERATOR, HOST, ORDERS, OF_OTHERS),
    ("no client, led there by others", OPERATOR, HOST, OTHER, ""),
    ("an operator", OPERATOR, HOST, SSH, ""),
    ("no operator", CLIENT, HOST, SSH, ""),
    ("a balancer that asks for the health", GENERATOR, HOST, TELEMETRY, ""),
    ("a balancer that logs in", GENERATOR, HOST, SSH, ""),
]


@contextmanager
def neighbour() -> Iterator[tuple[str, ...]]:
    """Make a second network namespace that is linked to this one.

    Yield the words that must precede a command so that it runs in the second namespace.
    """
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        there = ("nsenter", f"--net=/proc/{other.pid}/ns/net")
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", str(other.pid))
        for within, addresses in (((), (HOST, HOST_IPV6)), (there, (CLIENT, OPERATOR, GENERATOR, CLIENT_IPV6))):
            _ip("link", "set", "wire", "up", within=within)
            for address in addresses:
                size, options = ("64", ("nodad",)) if ":" in address else ("24", ())
                _ip("address", "add", f"{address}/{size}", "dev", "wire", *options, within=within)
        yield there
        other.communicate()


def _ip(*words: str, within: tuple[str, ...] = ()) -> None:
    subprocess.run([*within, "ip", *words], check=True)


@contextmanager
def inside(there: str) -> Iterator[None]:
    """Let the calling thread create its sockets in another network namespace. `there` is the namespace's file."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(there) as other:
        assert libc.setns(other.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def counted() -> dict[str, int]:
    """Return how many packets each counter of the rules has counted."""
    said = subprocess.run(
        [NFT, "--json", "list", "counters", "table", "inet", "trading"], capture_output=True, check=True
    )
    found = [entry["counter"] for entry in json.loads(said.stdout)["nftables"] if "counter" in entry]
    return {counter["name"]: counter["packets"] for counter in found}


def outcome(sock: socket.socket, to: tuple[str, int]) -> str:
    """Connect to the address and port `to`, and return what happens.

    When the server answers, return `answered`. When it closes the connection, return `closed`. When counters of the
    rules increase, return their names. After a deadline, return `nothing`.
    """
    before = counted()
    sock.setblocking(False)
    sock.connect_ex(to)
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        if select.select([], [sock], [], 0.01)[1]:
            sock.settimeout(LIMIT_S)
            sock.sendall(b"order")
            return "answered" if sock.recv(5) == b"order" else "closed"
        if rose := [name for name, packets in counted().items() if packets > before[name]]:
            return ", ".join(rose)
    return "nothing"


def echo(port: int) -> None:
    """Listen at this port until the process ends, over IPv4 and IPv6.

    Each connection gets back the bytes that it sends.
    """
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(connection.recv(5))

    threading.Thread(target=serve, daemon=True).start()


def main() -> None:
    with neighbour() as there:
        for port in (ORDERS, SSH, TELEMETRY):
            echo(port)
        subprocess.run([NFT, "--file", "-"], input=sys.stdin.read(), text=True, check=True)
        found = {}
        for name, source, to, port, others in CASES:
            subprocess.run([NFT, "--file", "-"], input=others, text=True, check=True)
            family = socket.AF_INET6 if ":" in to else socket.AF_INET
            with nullcontext() if source in {"127.0.0.1", HOST} else inside(there[1].partition("=")[2]):
                sock = socket.socket(family)
            with sock:
                sock.bind((source, 0))
                said = outcome(sock, (to, port))
                entries = int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
            found[name] = [said, entries]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
