"""What protection costs a logged-in client: somebody else's wrong passwords, TLS, the host's own firewall.

What is compared alternates in slices, and a slice counts only where no witness saw the machine disturb it.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.statistics.verdict import judge
from embedded_ec2.network import inside
from trading_bench import disturbance
from trading_bench.watching import Watching
from trading_engine.wire import soupbintcp

from tests.benchmarks import orderflow, processes
from tests.benchmarks.figures import Figure
from tests.benchmarks.gateway import RESTING_ANSWER_BYTES
from tests.benchmarks.processes import DEADLINE_S, Server
from tests.integration.engine.test_tls import configuration
from tests.tls import made
from tests.unit.collection.test_firewall import NFT, rules

Work = list[tuple[bytes, int]]
IN_FLIGHT = 64
ORDERS = 3000  # a slice's
PAIRS = 12
MOST_PAIRS = 40  # of which so many may be disturbed
RATE = 1000
WATCH_S = 300.0
ATTACKER_ADDRESS = "127.0.0.66"
ATTEMPTS = 10_000
ALLOWED_A_SECOND = 50  # new connections that the host's firewall lets one address make
WRONG = soupbintcp.login_request("B1", "wrong", "", 0)
GUESSER = """
import socket, sys, time
port, address, packet = int(sys.argv[1]), sys.argv[2], bytes.fromhex(sys.argv[3])
for line in sys.stdin:
    count, rate = line.split()
    begun, refused = time.monotonic(), 0
    for number in range(int(count)):
        time.sleep(max(0.0, begun + number / float(rate) - time.monotonic()))
        with socket.create_connection(("127.0.0.1", port), 30, (address, 0)) as one:
            one.sendall(packet)
            refused += one.recv(4)[2:3] == b"J"
    print(refused, flush=True)
"""
# Of the bench's own, in which nothing else is.
HOST, CLIENT = "bench-firewall-host", "bench-firewall-client"
HOST_ADDRESS, CLIENT_ADDRESS = "198.18.78.1", "198.18.78.2"


@contextmanager
def client_first(cpu: int) -> Iterator[None]:
    """Have the measuring process on its CPU before anybody else there, and no collector in it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, before)


def undisturbed_pairs(
    kinds: tuple[str, str], measure: Callable[[str], Any], watched: list[int], pairs: int = PAIRS
) -> list[dict[str, Any]]:
    """Measure both kinds in turns, the order within a pair by lot, until so many pairs were disturbed by nobody."""
    lot, found = random.Random(1), []  # noqa: S311
    for _ in range(MOST_PAIRS):
        watching = Watching(watched, WATCH_S)
        pair = {kind: measure(kind) for kind in lot.sample(kinds, 2)}
        record = watching.end()
        if record is not None and not disturbance.see([(record, disturbance.Offset())]).disturbances:
            found.append(pair)
        if len(found) == pairs:
            return found
    raise AssertionError(f"only {len(found)} of {MOST_PAIRS} pairs were undisturbed: the machine is not quiet enough")


def paced(sock: socket.socket, work: Work, rate: int) -> list[int]:
    """Send each order when it is due and read its answer; return the ns from when it was due."""
    processes.drain(sock)
    times = []
    begun_ns = time.monotonic_ns()
    for number, (data, size) in enumerate(work):
        due_ns = begun_ns + number * 1_000_000_000 // rate
        if (left_ns := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / 1e9)
        sock.sendall(data)
        while size > 0:
            received = len(sock.recv(size))
            assert received, "the engine closed the connection"
            size -= received
        times.append(time.monotonic_ns() - due_ns)
    return times


def mixed(flow: orderflow.Flow, core: Any, count: int, batch: int = 1) -> Work:
    return orderflow.batches(core, [flow.mixed() for _ in range(count)], batch)


# -- wrong passwords --------------------------------------------------------------------------------------------------


@contextmanager
def guesser(server: Server, cpu: int) -> Iterator[subprocess.Popen[str]]:
    """A process that tries wrong passwords when told to, from an address of its own; the client goes before it."""
    command = [sys.executable, "-c", GUESSER, str(server.port), ATTACKER_ADDRESS, WRONG.hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {cpu})
        try:
            yield process
        finally:
            process.terminate()


def passwords(variant: str) -> Iterator[Figure]:
    """A client at 1,000 orders a second while one address guesses 10,000 times, or as often as the firewall lets it."""
    core, flow = orderflow.open_core(), orderflow.Flow()
    client_cpu, engine_cpu = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    seconds = ORDERS / RATE
    with processes.engine(variant) as server, guesser(server, client_cpu) as attacker:
        server.pin(engine_cpu)
        client = processes.log_in(server, "B0")
        assert attacker.stdin is not None
        assert attacker.stdout is not None
        for name, rate in (
            ("as the firewall lets in", ALLOWED_A_SECOND),
            ("10,000 in all", ATTEMPTS / PAIRS / seconds),
        ):

            def measure(kind: str, rate: float = rate) -> float:
                work = mixed(flow, core, ORDERS)
                if kind == "attacked":
                    attacker.stdin.write(f"{round(rate * seconds) + 1} {rate}\n")  # type: ignore[union-attr]
                    attacker.stdin.flush()  # type: ignore[union-attr]
                with client_first(client_cpu):
                    times = paced(client, work, RATE)
                if kind == "attacked":
                    refused = int(attacker.stdout.readline())  # type: ignore[union-attr]
                    assert refused == round(rate * seconds) + 1, refused
                return processes.percentile(times, 99) / 1e3

            pairs = undisturbed_pairs(("attacked", "alone"), measure, [client_cpu, engine_cpu])
            attacked, alone = (statistics.median(pair[kind] for pair in pairs) for kind in ("attacked", "alone"))
            yield Figure(
                "passwords", variant, f"p99 beside wrong passwords, {rate:.0f} a second ({name})", attacked, "µs",
                "alone", alone, "1.2 x",
            )  # fmt: skip
        counters = server.state().counters
        client.close()
    yield Figure("passwords", variant, "checked before the address had to wait", counters["logins_rejected"], "logins")
    yield Figure("passwords", variant, "refused without a check, and counted", counters["logins_throttled"], "logins")


# -- TLS --------------------------------------------------------------------------------------------------------------


@contextmanager
def stunnel(folder: Path, orders: int, proxied: int, cpu: int) -> Iterator[subprocess.Popen[bytes]]:
    authority = made("authority")
    pair = made("server", authority)
    (folder / "authority.pem").write_text(authority.certificate_pem)
    (folder / "certificate.pem").write_text(pair.certificate_pem)
    (folder / "key.pem").touch(mode=0o600)
    (folder / "key.pem").write_text(pair.key_pem)
    ports = {"orders": orders, "feed": processes.free_port()}
    config = configuration(folder, ports, {"orders": proxied, "feed": processes.free_port()}, "")
    with subprocess.Popen(["stunnel4", str(config)], stderr=subprocess.DEVNULL) as process:
        os.sched_setaffinity(process.pid, {cpu})
        try:
            yield process
        finally:
            process.terminate()


def secure_log_in(folder: Path, port: int) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    end_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            raw = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < end_s, "stunnel does not listen"
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    secure = context.wrap_socket(raw, server_hostname="127.0.0.1")
    secure.sendall(soupbintcp.login_request("B1", processes.PASSWORD, "", 0))
    answer = b""
    while len(answer) < 33:
        received = secure.recv(33 - len(answer))
        assert received, f"the connection ended after {answer!r}"
        answer += received
    assert answer[2:3] == b"A", answer
    return secure


def tls(variant: str) -> Iterator[Figure]:
    """The same orders in clear text and through stunnel: engine on one CPU, stunnel and the client on the other."""
    flow = orderflow.Flow(levels=500)  # orders that rest: of two accounts, others would be told of as well
    before = os.sched_getaffinity(0)
    beside, engine_cpu = min(before), max(before)
    port, proxied = processes.free_port(), processes.free_port()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tls-bench-")))
        server = stack.enter_context(processes.engine(variant, proxy_port=proxied))
        proxy = stack.enter_context(stunnel(folder, port, proxied, beside))
        server.pin(engine_cpu)
        os.sched_setaffinity(0, {beside})
        stack.callback(os.sched_setaffinity, 0, before)
        clients = {"clear": processes.log_in(server, "B0"), "TLS": secure_log_in(folder, port)}

        def measure(kind: str) -> tuple[float, float, float]:
            sock = clients[kind]
            heard(sock)
            used_ns = thread_ns(proxy.pid)
            times = processes.round_trips(sock, [(flow.rest(), RESTING_ANSWER_BYTES) for _ in range(ORDERS)])
            flow.alive.clear()
            cost_us = (thread_ns(proxy.pid) - used_ns) / 1e3 / ORDERS
            return processes.percentile(times, 50) / 1e3, processes.percentile(times, 99) / 1e3, cost_us

        pairs = undisturbed_pairs(("TLS", "clear"), measure, [beside, engine_cpu])
        for sock in clients.values():
            sock.close()
    for number, what in enumerate(("ping-pong p50", "ping-pong p99", "processor time of the proxy, each order")):
        secure, clear = (statistics.median(pair[kind][number] for pair in pairs) for kind in ("TLS", "clear"))
        yield Figure("tls", variant, f"{what}, TLS 1.3", secure, "µs", "clear text", clear)


def heard(sock: socket.socket) -> None:
    """Throw away what waits, and say that this client lives."""
    sock.sendall(soupbintcp.CLIENT_HEARTBEAT_PACKET)
    sock.setblocking(False)
    try:
        while sock.recv(1 << 16):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        pass
    sock.settimeout(DEADLINE_S)


def thread_ns(pid: int) -> int:
    """Return the processor time of all threads of a process."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


# -- the host's own firewall ------------------------------------------------------------------------------------------


@contextmanager
def joined() -> Iterator[None]:
    """Make two network namespaces with a link between them."""
    try:
        for name in (HOST, CLIENT):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", HOST, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", CLIENT)
        for name, address in ((HOST, HOST_ADDRESS), (CLIENT, CLIENT_ADDRESS)):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "link0")
            _ip("-n", name, "link", "set", "link0", "up")
        yield
    finally:
        for name in (HOST, CLIENT):
            subprocess.run(["ip", "netns", "delete", name], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def firewall(variant: str) -> Iterator[Figure]:
    """Orders between two network namespaces, with and without the rules that the role writes."""
    core, flow = orderflow.open_core(), orderflow.Flow()
    networks = {"trading_operator_cidr": "192.0.2.1/32", "trading_client_cidrs": [f"{CLIENT_ADDRESS}/32"]}
    client_cpu, engine_cpu = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="firewall-bench-")))
        window = stack.enter_context(processes.windowed_client())
        stack.enter_context(joined())
        with inside(HOST):
            server = stack.enter_context(processes.engine(variant, address=HOST_ADDRESS))
        server.pin(engine_cpu)
        ports = {"trading_order_port": server.port}
        text = rules(folder, {**networks, **ports, "hardening_silent_users": ["games"]})
        (folder / "rules.nft").write_text(text)
        with inside(CLIENT):
            client = processes.log_in(server, "B0")
        stack.callback(client.close)
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {client_cpu})
        stack.callback(os.sched_setaffinity, 0, before)

        def measure(kind: str) -> dict[str, float]:
            _nft("-f", str(folder / "rules.nft"))
            if kind == "without":
                _nft("delete", "table", "inet", "trading")
            many, single = mixed(flow, core, IN_FLIGHT * 150), mixed(flow, core, ORDERS)
            heard(client)
            seconds = processes.in_flight(window, client, many, IN_FLIGHT)
            client.settimeout(DEADLINE_S)
            times = processes.round_trips(client, single)
            return {
                "time an order, 64 in flight": seconds * 1e6 / (IN_FLIGHT * 150),
                "ping-pong p50": processes.percentile(times, 50) / 1e3,
                "ping-pong p99": processes.percentile(times, 99) / 1e3,
            }

        pairs = undisturbed_pairs(("with", "without"), measure, [client_cpu, engine_cpu])
    families = {name: [(pair["with"][name], pair["without"][name]) for pair in pairs] for name in pairs[0]["with"]}
    verdicts = judge(families)
    for name, values in families.items():
        what = f"{name}, with the firewall (verdict: {verdicts[name].verdict}, p {verdicts[name].p:.2f})"
        with_it, without = (statistics.median(column) for column in zip(*values, strict=True))
        yield Figure("firewall", variant, what, with_it, "µs", "without", without)
    throughput = statistics.median(without / with_it for with_it, without in families["time an order, 64 in flight"])
    yield Figure("firewall", variant, "throughput with ÷ without, median of the pairs", throughput, "x", reach="0.98")


def _nft(*words: str) -> None:
    subprocess.run(["ip", "netns", "exec", HOST, NFT, *words], check=True)
