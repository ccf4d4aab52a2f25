"""Measures two servers over TCP, in turns: the engine, and a uvloop server that echoes the bytes it gets."""

from __future__ import annotations

import gc
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice

from trading_engine.wire import soupbintcp

from tests.benchmarks import orderflow, processes
from tests.benchmarks.figures import Figure
from tests.benchmarks.processes import Server

POPULATION = 100_000
IN_FLIGHT = 64
SLICES = 7
BATCHES = 150
PINGS = 600
RESTING_ANSWER_BYTES = 69
RESTING_SLICES = 20
RATE = 10_000
RATE_SLICE_S = 2
RATE_SLICES = 30


@contextmanager
def on_one_cpu(servers: list[Server]) -> Iterator[None]:
    """Pin the servers and this process to the last CPU. At the end, let this process use its former CPUs again."""
    before = os.sched_getaffinity(0)
    cpu = max(before)
    for server in servers:
        server.pin(cpu)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def without_collector() -> Iterator[None]:
    """While the context is open, switch off this process's garbage collector, whose pauses can exceed 100 ms."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


Work = list[tuple[bytes, int]]


def loaded() -> tuple[Work, list[tuple[Work, Work]]]:
    """Return the orders that fill the book, and the orders of each slice of the measurement.

    A slice has orders in batches of 64, and single orders. All orders must be sent in exactly this order, because the
    sizes of the answers depend on it.
    """
    core, flow = orderflow.open_core(), orderflow.Flow()
    fill = orderflow.batches(core, [flow.rest() for _ in range(POPULATION)], IN_FLIGHT)
    slices = []
    for _ in range(SLICES):
        many = orderflow.batches(core, [flow.mixed() for _ in range(IN_FLIGHT * BATCHES)], IN_FLIGHT)
        single = orderflow.batches(core, [flow.mixed() for _ in range(PINGS)], 1)
        slices.append((many, single))
    return fill, slices


def echoed(work: Work) -> Work:
    return [(data, len(data)) for data, _ in work]


def pinned(variant: str) -> Iterator[Figure]:
    """Measure the most important figures, with the server and the client on one CPU."""
    fill, slices = loaded()
    with processes.engine(variant) as server, processes.echo() as bare:
        client, mirror = processes.log_in(server, "B0"), processes.connect(bare)
        processes.round_trips(client, fill)
        costs: dict[str, list[float]] = {"engine": [], "echo": []}
        walls: dict[str, list[float]] = {"engine": [], "echo": []}
        trips: dict[str, list[int]] = {"engine": [], "echo": []}
        with on_one_cpu([server, bare]):
            for many, single in slices:
                for name, target, sock in (("engine", server, client), ("echo", bare, mirror)):
                    work, pings = (many, single) if name == "engine" else (echoed(many), echoed(single))
                    processes.drain(sock)
                    cpu_ns = target.cpu_ns() + time.process_time_ns()
                    begun_ns = time.perf_counter_ns()
                    processes.round_trips(sock, work)
                    orders = IN_FLIGHT * len(work)
                    walls[name].append((time.perf_counter_ns() - begun_ns) / 1e3 / orders)
                    costs[name].append((target.cpu_ns() + time.process_time_ns() - cpu_ns) / 1e3 / orders)
                    answered = [size > 0 for _, size in single]
                    times = processes.round_trips(sock, pings)
                    trips[name] += [taken for taken, told in zip(times, answered, strict=True) if told]
        client.close()
        mirror.close()
    reach, aim = ("6", "4.5") if variant == "pure" else ("4", "3")
    yield Figure(
        "pinned", variant, "processor time an order, 64 in flight, client included", statistics.median(costs["engine"]),
        "µs", "echo", statistics.median(costs["echo"]), reach, aim,
    )  # fmt: skip
    yield Figure(
        "pinned", variant, "wall time an order, 64 in flight", statistics.median(walls["engine"]),
        "µs", "echo", statistics.median(walls["echo"]),
    )  # fmt: skip
    bounds = {50: ("echo+15", "echo+9"), 99: ("echo+60", "echo+45")}
    if variant == "compiled":
        bounds = {50: ("echo+12", "echo+7"), 99: ("echo+50", "echo+35")}
    for percent, (reach, aim) in bounds.items():
        yield Figure(
            "pinned", variant, f"ping-pong p{percent}", processes.percentile(trips["engine"], percent) / 1e3,
            "µs", "echo", processes.percentile(trips["echo"], percent) / 1e3, reach, aim,
        )  # fmt: skip


def two_cpus(variant: str) -> Iterator[Figure]:
    """Measure throughput with 64 orders in flight. The kernel chooses the CPUs of server and client.

    In the first measurement, the client sends a further order for each answer, as a client that reacts to events does.
    In the second, it sends 64 orders in one piece. The echo server needs only one read and one write for such a piece.
    """
    core, flow = orderflow.open_core(), orderflow.Flow()
    fill = orderflow.batches(core, [flow.rest() for _ in range(POPULATION)], IN_FLIGHT)
    rates: dict[tuple[str, str], list[float]] = {}
    with processes.engine(variant) as server, processes.echo() as bare, processes.windowed_client() as window:
        client, mirror = processes.log_in(server, "B0"), processes.connect(bare)
        processes.round_trips(client, fill)
        for _ in range(SLICES):
            for way, size in (("window", 1), ("pieces", IN_FLIGHT)):
                work = orderflow.batches(core, [flow.mixed() for _ in range(IN_FLIGHT * BATCHES)], size)
                for name, sock, sent in (("engine", client, work), ("echo", mirror, echoed(work))):
                    processes.drain(sock)
                    if way == "window":
                        took_s = processes.in_flight(window, sock, sent, IN_FLIGHT)
                    else:
                        took_s = sum(processes.round_trips(sock, sent)) / 1e9
                    rates.setdefault((way, name), []).append(IN_FLIGHT * BATCHES / took_s)
        client.close()
        mirror.close()
    bounds = ("0.12 x", "0.18 x") if variant == "pure" else ("0.18 x", "0.25 x")
    for way, what in (("window", "each sent by itself"), ("pieces", "in one piece")):
        yield Figure(
            "two_cpus", variant, f"orders a second, 64 in flight, {what}", statistics.median(rates[way, "engine"]),
            "1/s", "echo", statistics.median(rates[way, "echo"]), *bounds,
        )  # fmt: skip


def open_loop_times(sock: socket.socket, work: list[tuple[bytes, int]], rate: int) -> list[int]:
    """Send each order at its intended time. Wait for this time in a busy loop.

    Return for each order the time in ns from its intended time to the last byte of its answer.
    """
    processes.drain(sock)
    sock.setblocking(False)
    times: list[int] = []
    pending: list[tuple[int, int]] = []
    ends = 0
    received = 0
    begun = time.perf_counter_ns() + 1_000_000
    step = 1_000_000_000 // rate
    sent = 0
    while len(times) < len(work):
        now = time.perf_counter_ns()
        if sent < len(work) and now >= begun + sent * step:
            data, size = work[sent]
            sock.send(data)
            ends += size
            pending.append((begun + sent * step, ends))
            sent += 1
        try:
            received += len(sock.recv(1 << 16))
        except BlockingIOError:
            continue
        now = time.perf_counter_ns()
        first = len(times)
        while first < len(pending) and pending[first][1] <= received:
            times.append(now - pending[first][0])
            first += 1
    sock.settimeout(processes.DEADLINE_S)
    return times


def open_loop(variant: str) -> Iterator[Figure]:
    """Measure the engine and the echo server at 10,000 orders a second, each for a minute.

    Latencies begin at an order's intended time. The figures are medians over parts of two seconds.
    """
    core, flow = orderflow.open_core(), orderflow.Flow()
    fill = orderflow.batches(core, [flow.rest() for _ in range(POPULATION)], IN_FLIGHT)
    slices: dict[str, list[list[int]]] = {"engine": [], "echo": []}
    with processes.engine(variant) as server, processes.echo() as bare:
        client, mirror = processes.log_in(server, "B0"), processes.connect(bare)
        processes.round_trips(client, fill)
        for _ in range(RATE_SLICES):
            work = orderflow.batches(core, [flow.mixed() for _ in range(RATE * RATE_SLICE_S)], 1)
            processes.drain(client)
            client.sendall(soupbintcp.CLIENT_HEARTBEAT_PACKET)
            with without_collector():
                slices["engine"].append(open_loop_times(client, work, RATE))
                slices["echo"].append(open_loop_times(mirror, echoed(work), RATE))
        stall_ms, causes = processes.longest_stall(server)
        client.close()
        mirror.close()

    def median_us(name: str, measure: Callable[[list[int]], float]) -> float:
        return statistics.median(measure(times) for times in slices[name]) / 1e3

    yield Figure("open_loop", variant, f"10,000/s: longest stall caused by the engine ({causes})", stall_ms, "ms")
    yield Figure(
        "open_loop", variant, "10,000/s, median of 2 s slices: average", median_us("engine", statistics.fmean),
        "µs", "echo", median_us("echo", statistics.fmean), "echo+60", "echo+30",
    )  # fmt: skip
    for percent in (50, 95, 99, 99.9):
        measure = partial(processes.percentile, percent=percent)
        yield Figure(
            "open_loop", variant, f"10,000/s, median of 2 s slices: p{percent}", median_us("engine", measure), "µs",
            "echo", median_us("echo", measure), *(("1.6 x", "1.3 x") if percent == 99 else ()),
        )  # fmt: skip


def filled(server: Server, population: int) -> tuple[socket.socket, orderflow.Flow]:
    """Enter `population` resting orders.

    Return the client's connection, and the `Flow` object that makes further orders.
    """
    flow = orderflow.Flow(levels=500)
    client = processes.log_in(server, "B0")
    frames = (flow.rest() for _ in range(population))
    while batch := list(islice(frames, IN_FLIGHT)):
        processes.round_trips(client, [(b"".join(batch), RESTING_ANSWER_BYTES * len(batch))])
        flow.alive.clear()
    return client, flow


def resting(variant: str) -> Iterator[Figure]:
    """Measure an engine with a million resting orders, and an engine with few resting orders.

    Both engines and the client share one CPU, and the engines are measured in turns. The p99 is measured for both
    engines. Memory and the longest stall are measured with a million orders.
    """
    trips: dict[str, list[float]] = {"many": [], "few": []}
    engine = partial(processes.engine, variant, tokens="increasing")
    with engine() as crowded, engine() as small:
        before = crowded.rss_bytes()
        many = filled(crowded, 1_000_000)
        grown = crowded.rss_bytes() - before
        few = filled(small, 1_000)
        with on_one_cpu([crowded, small]), without_collector():
            for _ in range(RESTING_SLICES):
                for name, (client, flow) in (("many", many), ("few", few)):
                    processes.drain(client)
                    work = [(flow.rest(), RESTING_ANSWER_BYTES) for _ in range(PINGS)]
                    trips[name].append(processes.percentile(processes.round_trips(client, work), 99) / 1e3)
        stall_ms, causes = processes.longest_stall(crowded)
        many[0].close()
        few[0].close()
    with_many, with_few = statistics.median(trips["many"]), statistics.median(trips["few"])
    yield Figure(
        "resting", variant, "p99 over TCP with 1 M resting orders", with_many, "µs", "1 to 13 k", with_few, "1.2 x"
    )
    bound = "400" if variant == "pure" else "320"
    yield Figure("resting", variant, "memory of a resting order", grown / 1_000_000, "bytes", reach=bound)
    what = f"longest stall caused by the engine, filling included ({causes})"
    yield Figure("resting", variant, what, stall_ms, "ms", reach="2")
