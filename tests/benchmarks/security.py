"""Measures what three protections cost a client: refused wrong passwords, TLS, and the host's own firewall.

Runs with and without a protection take turns. Threads called witnesses watch the CPUs. They detect when the machine was
disturbed, and only undisturbed time counts. A run on a schedule sends each order at a fixed time. It is divided into
slices of a tenth of a second, and its undisturbed slices count. A run without a schedule is not divided. A pair of such
runs counts only if both runs were completely undisturbed.
"""

from __future__ import annotations

import gc
import math
import os
import random
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.statistics.verdict import judge
from embedded_ec2.network import inside
from trading_bench import disturbance
from trading_bench.generator import Recording
from trading_bench.summary import Round
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
ORDERS = 3000  # in a run
PAIRS = 12
MOST_PAIRS = 40  # including disturbed pairs
RATE = 1000
WATCH_S = 300.0
ATTACKER_ADDRESS = "127.0.0.66"
ATTEMPTS = 10_000
ENOUGH_SHARE = 0.5  # the share of slices that must be undisturbed
REFUSED = ("logins_rejected", "logins_throttled")
ALLOWED_A_SECOND = 50  # new connections that the host's firewall allows one address
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
# Names of network namespaces. Only this benchmark uses them.
HOST, CLIENT = "bench-firewall-host", "bench-firewall-client"
HOST_ADDRESS, CLIENT_ADDRESS = "198.18.78.1", "198.18.78.2"
NETWORKS = {"trading_operator_cidr": "192.0.2.1/32", "trading_client_cidrs": [f"{CLIENT_ADDRESS}/32"]}
PACKET = bytes(49)  # has the size of an order


@contextmanager
def client_first(cpu: int) -> Iterator[None]:
    """Give this process real-time priority on the CPU, and switch its garbage collector off, until the context ends."""
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
    """Measure both kinds of run in pairs, until `pairs` pairs were undisturbed on the CPUs `watched`.

    In each pair, the order of the two kinds is random. Return the undisturbed pairs. Each is a dictionary with the
    result of each kind. Raises AssertionError when too many pairs were disturbed.
    """
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


def paced(sock: socket.socket, work: Work, rate: int) -> Recording:
    """Send each order at its due time and read its answer. Return for each order when it was due, sent and answered."""
    processes.drain(sock)
    recording = Recording(rate, len(work), 0)
    begun_ns = time.monotonic_ns()
    for number, (data, size) in enumerate(work):
        due_ns = begun_ns + number * 1_000_000_000 // rate
        if (left_ns := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / 1e9)
        recording.intended_ns[number], recording.sent_ns[number] = due_ns, time.monotonic_ns()
        sock.sendall(data)
        while size > 0:
            received = len(sock.recv(size))
            assert received, "the engine closed the connection"
            size -= received
        recording.answered_ns[number] = time.monotonic_ns()
    return recording


def latencies_ns(recording: Recording, slots: Iterable[int] | None = None) -> list[int]:
    """Return each order's time from due time to answer, in ns.

    `slots` selects some orders. Without it, the times of all orders are returned.
    """
    wanted = range(recording.slots) if slots is None else slots
    return [recording.answered_ns[slot] - recording.intended_ns[slot] for slot in wanted]


def undisturbed_ns(recording: Recording, record: Any) -> tuple[list[int], float]:
    """Return the latencies of the orders in undisturbed slices in ns, and the share of slices that were undisturbed.

    The load generator's report uses the same rule.
    """
    for sample in record["samples"]:
        sample.pop("real_time_ns", None)  # the client's own real-time priority is no disturbance
    found = Round(recording, own=record)
    slots = [slot for slot in found.answered if found.number_of(slot) in found.counting]
    return latencies_ns(recording, slots), len(found.counting) / len(found.slices)


def mixed(flow: orderflow.Flow, core: Any, count: int, batch: int = 1) -> Work:
    return orderflow.batches(core, [flow.mixed() for _ in range(count)], batch)


# -- wrong passwords --------------------------------------------------------------------------------------------------


@contextmanager
def guesser(server: Server, cpu: int) -> Iterator[subprocess.Popen[str]]:
    """Run a process on the client's CPU that tries wrong passwords from its own address. Yield the process.

    A line "COUNT RATE" on its standard input starts COUNT attempts, RATE in a second. The process answers with the
    number of refused attempts.
    """
    command = [sys.executable, "-c", GUESSER, str(server.port), ATTACKER_ADDRESS, WRONG.hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {cpu})
        try:
            yield process
        finally:
            process.terminate()


def passwords(variant: str) -> Iterator[Figure]:
    """Measure a client at 1,000 orders a second while another address tries wrong passwords.

    In one case, that address tries as often as the firewall allows. In the other, it tries 10,000 times in all its runs
    together.
    """
    core, flow, lot = orderflow.open_core(), orderflow.Flow(), random.Random(1)  # noqa: S311
    client_cpu, engine_cpu = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    seconds, tried = ORDERS / RATE, 0
    with processes.engine(variant) as server, guesser(server, client_cpu) as attacker:
        assert server.directory is not None
        state = server.directory / "engine.shm"
        server.pin(engine_cpu)
        client = processes.log_in(server, "B0")

        def measure(kind: str, count: int) -> tuple[float, float]:
            """Measure once. Return the p99 of the undisturbed slices in µs, and their share of all slices."""
            work = mixed(flow, core, ORDERS)
            watching = Watching([client_cpu, engine_cpu], WATCH_S, state)
            if kind == "attacked":
                attacker.stdin.write(f"{count} {count / seconds}\n")  # type: ignore[union-attr]
                attacker.stdin.flush()  # type: ignore[union-attr]
            with client_first(client_cpu):
                recording = paced(client, work, RATE)
            if kind == "attacked":
                refused = int(attacker.stdout.readline())  # type: ignore[union-attr]
                assert refused == count, f"{refused} of {count} wrong passwords were refused"
            record = watching.end()
            times, share = undisturbed_ns(recording, record) if record else ([], 0.0)
            return (processes.percentile(times, 99) / 1e3 if times else 0.0), share

        for name, rate in (
            ("as the firewall lets in", float(ALLOWED_A_SECOND)),
            ("10,000 in all", ATTEMPTS / PAIRS / seconds),
        ):
            count, pairs, shares = math.ceil(rate * seconds), [], []
            for _ in range(MOST_PAIRS):
                pair = {kind: measure(kind, count) for kind in lot.sample(("attacked", "alone"), 2)}
                tried += count
                shares += [share for _, share in pair.values()]
                if min(share for _, share in pair.values()) >= ENOUGH_SHARE:
                    pairs.append({kind: p99_us for kind, (p99_us, _) in pair.items()})
                if len(pairs) == PAIRS:
                    break
            else:
                raise AssertionError(f"only {len(pairs)} of {MOST_PAIRS} pairs were quiet enough on this machine")
            attacked, alone = (statistics.median(pair[kind] for pair in pairs) for kind in ("attacked", "alone"))
            yield Figure(
                "passwords", variant, f"p99 beside wrong passwords, {rate:.0f} a second ({name})", attacked, "µs",
                "alone", alone, "1.2 x",
            )  # fmt: skip
            yield Figure(
                "passwords", variant, f"slices that count, {rate:.0f} a second", 100 * statistics.mean(shares), "%"
            )
        while sum((counters := server.state().counters)[name] for name in REFUSED) < tried:
            time.sleep(0.01)  # the engine publishes its counters ten times a second
        client.close()
    assert counters["logins_rejected"] + counters["logins_throttled"] == tried
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
    """Send the same orders without TLS, and with TLS through stunnel.

    One CPU runs the engine. The other runs stunnel and the client.
    """
    flow = orderflow.Flow(levels=500)  # resting orders only, because a trade would send messages to both accounts
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
    """Send a heartbeat, so that the server keeps the connection open. Discard the bytes that have arrived."""
    sock.sendall(soupbintcp.CLIENT_HEARTBEAT_PACKET)
    sock.setblocking(False)
    try:
        while sock.recv(1 << 16):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        pass
    sock.settimeout(DEADLINE_S)


def thread_ns(pid: int) -> int:
    """Return how much CPU time all threads of a process have used together, in ns."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


# -- the host's own firewall ------------------------------------------------------------------------------------------


@contextmanager
def joined() -> Iterator[None]:
    """Make two network namespaces that are connected by a link. Delete them when the context ends."""
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


def firewall_packets(_variant: str) -> Iterator[Figure]:
    """Measure how long it takes to send an order's packet and the packet of its answer.

    This is measured with and without the firewall's rules. The packets go between two network namespaces on one CPU.
    When the sending call returns, the kernel has applied all rules and delivered the packet. The figure is the tenth
    percentile of many sends in the fastest round. Other work on the machine hardly changes it.
    """
    port, before, lot = processes.free_port(), os.sched_getaffinity(0), random.Random(1)  # noqa: S311
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="firewall-bench-")))
        text = rules({**NETWORKS, "trading_order_port": port, "hardening_silent_users": ["games"]})
        (folder / "rules.nft").write_text(text)
        stack.enter_context(joined())
        with inside(HOST):
            listener = stack.enter_context(socket.create_server((HOST_ADDRESS, port)))
        with inside(CLIENT):
            client = stack.enter_context(socket.create_connection((HOST_ADDRESS, port), DEADLINE_S))
        server = stack.enter_context(listener.accept()[0])
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(None)  # a timeout would add a system call to each send
        os.sched_setaffinity(0, {max(before)})
        stack.callback(os.sched_setaffinity, 0, before)
        found: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
        for _ in range(PAIRS):
            for kind in lot.sample(("with", "without"), 2):
                _nft("-f", str(folder / "rules.nft"))
                if kind == "without":
                    _nft("delete", "table", "inet", "trading")
                found[kind].append((sent_us(client, server), sent_us(server, client)))
    for number, what in enumerate(("an order's packet", "its answer")):
        with_it, without = (min(one[number] for one in found[kind]) for kind in ("with", "without"))
        yield Figure("firewall_packets", "", f"sending {what}, with the firewall", with_it, "µs", "without", without)


def sent_us(sender: socket.socket, receiver: socket.socket) -> float:
    """Return how long it takes to send a packet: the tenth percentile in µs. The receiver answers each packet."""
    times = []
    for _ in range(ORDERS):
        begun_ns = time.perf_counter_ns()
        sender.sendall(PACKET)
        times.append(time.perf_counter_ns() - begun_ns)
        receiver.recv(len(PACKET))
        receiver.sendall(PACKET)
        sender.recv(len(PACKET))
    return processes.percentile(times, 10) / 1e3


def firewall(variant: str) -> Iterator[Figure]:
    """Measure an engine and its client in two network namespaces, with and without the role's firewall rules."""
    core, flow = orderflow.open_core(), orderflow.Flow()
    client_cpu, engine_cpu = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="firewall-bench-")))
        window = stack.enter_context(processes.windowed_client())
        stack.enter_context(joined())
        with inside(HOST):
            server = stack.enter_context(processes.engine(variant, address=HOST_ADDRESS))
        server.pin(engine_cpu)
        ports = {"trading_order_port": server.port}
        text = rules({**NETWORKS, **ports, "hardening_silent_users": ["games"]})
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
