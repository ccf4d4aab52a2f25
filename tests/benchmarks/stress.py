"""Measures the engine under stress: a client that does not read, clients that flood it, and ten million orders."""

from __future__ import annotations

import contextlib
import multiprocessing
import select
import socket
import statistics
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from multiprocessing.synchronize import Event

from trading_engine.wire import ouch, soupbintcp

from tests.benchmarks import gateway, orderflow, processes
from tests.benchmarks.figures import Figure
from tests.benchmarks.processes import DEADLINE_S, Server

STALLED_S = 60
SLICE_PINGS = 5_000
OFFERS = 20
TRADES_AMONG = 20  # one ping in twenty is a trade
FLOOD_S = 60
FLOODERS = 5
FLOOD_FRAMES = 1_000
RECOVERED_PINGS = 100
ORDERS = 10_000_000
POPULATION = 100_000
BUDGET_BYTES = 1 << 30
IN_FLIGHT = 64
_ACCEPTED_BYTES, _CANCELED_BYTES, _EXECUTED_BYTES = 69, 31, 43


class Pings:
    """Makes a client's messages: resting orders, cancels of these orders, and trades.

    Each message comes with the size of its answer.
    """

    def __init__(self) -> None:
        self._serial = count()

    def work(self, pings: int) -> list[tuple[bytes, int]]:
        """Return `pings` messages. For each, return the bytes to send and the number of bytes in the answer."""
        made = []
        token = ""
        for number in range(pings):
            if number % TRADES_AMONG == 0:
                made.append((orderflow.frame(self._trade()), _ACCEPTED_BYTES + _EXECUTED_BYTES))
            elif token:
                made.append((orderflow.frame(ouch.CancelOrder(token, 0)), _CANCELED_BYTES))
                token = ""
            else:
                token = self._token()
                resting = ouch.EnterOrder(token, "B", 100, "S0", orderflow.MID_E4 - 10_000)
                made.append((orderflow.frame(resting), _ACCEPTED_BYTES))
        return made

    def lonely(self, pings: int) -> list[tuple[bytes, int]]:
        """Return those of the first `pings` messages that cause no trade."""
        return [ping for ping in self.work(pings) if ping[1] != _ACCEPTED_BYTES + _EXECUTED_BYTES]

    def trades(self, pings: int) -> list[tuple[bytes, int]]:
        """Return `pings` messages that each cause a trade."""
        return [(orderflow.frame(self._trade()), _ACCEPTED_BYTES + _EXECUTED_BYTES) for _ in range(pings)]

    def _trade(self) -> ouch.EnterOrder:
        return ouch.EnterOrder(self._token(), "B", 1, "S0", orderflow.MID_E4, ouch.TIF_IOC)

    def _token(self) -> str:
        return f"P{next(self._serial):013d}"


class Pair:
    """An engine with two clients. The first client, the owner, has sell orders in the book.

    The second client buys these shares, and its latency is measured.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pings = Pings()
        self.client = processes.log_in(server, "B0")
        self.owner = processes.log_in(server, "B1")
        self.slices_us: list[float] = []
        for number in range(OFFERS):
            offer = ouch.EnterOrder(f"D{number:013d}", "S", 100_000, "S0", orderflow.MID_E4)
            processes.round_trips(self.owner, [(orderflow.frame(offer), _ACCEPTED_BYTES)])

    def trade_until_it_waits(self, seconds: float) -> None:
        """Trade until the engine stores messages for the owner, who reads nothing. This is not measured."""
        end = time.monotonic() + seconds
        while not self.queued_bytes():
            assert time.monotonic() < end, "nothing waits for the client that does not read"
            processes.round_trips(self.client, self.pings.trades(1_000))

    def measure(self) -> None:
        processes.drain(self.client)
        times = processes.round_trips(self.client, self.pings.work(SLICE_PINGS))
        self.slices_us.append(processes.percentile(times, 99) / 1e3)
        self.owner.sendall(soupbintcp.CLIENT_HEARTBEAT_PACKET)

    def queued_bytes(self) -> int:
        return self.server.state().gauges["queued_bytes"]

    def close(self) -> None:
        self.client.close()
        self.owner.close()


def stalled(variant: str) -> Iterator[Figure]:
    """Measure a client that trades with an owner of resting orders.

    In one case, the owner does not read for a minute. In the other, it reads. Each case has its own engine, and both
    engines share one CPU. The two cases are measured in turns, so that the machine is equally fast for both.
    """
    engine = partial(processes.engine, variant, tokens="increasing")
    with engine() as first, engine() as second:
        reading, deaf = Pair(first), Pair(second)
        deaf.trade_until_it_waits(DEADLINE_S)
        waited = deaf.queued_bytes()
        begun = time.monotonic()
        pairs = [reading, deaf]
        with gateway.on_one_cpu([first, second]):
            while time.monotonic() < begun + STALLED_S:
                for pair in pairs:
                    pair.measure()
                    processes.drain(reading.owner)
                pairs.reverse()
        assert deaf.queued_bytes() > waited, "the engine dropped the client that does not read"
        waited = deaf.queued_bytes()
        reading.close()
        deaf.close()
    yield Figure(
        "stalled", variant, "p99 of a client while another does not read for a minute",
        statistics.median(deaf.slices_us), "µs", "while it reads", statistics.median(reading.slices_us), "1.1 x",
    )  # fmt: skip
    yield Figure(
        "stalled", variant, "what waits for that one in the engine at the end", waited / 1e6, "MB", reach="4.2"
    )


def flood(server: Server, sessions: int, running: Event) -> None:
    """Enter orders as fast as possible until this process is killed. `sessions` accounts enter orders, from B1 on."""
    sockets = {processes.log_in(server, f"B{number + 1}"): number for number in range(sessions)}
    frame = orderflow.frame(ouch.EnterOrder("F" * 14, "B", 100, "S0", orderflow.MID_E4 - 10_000, ouch.TIF_IOC))
    head, tail = frame[:4], frame[18:]
    serials = [0] * sessions
    pending = [memoryview(b"")] * sessions
    for sock in sockets:
        sock.setblocking(False)
    running.set()
    while True:
        readable, writable, _ = select.select(sockets, sockets, [])
        for sock in readable:
            sock.recv(1 << 20)
        for sock in writable:
            number = sockets[sock]
            if not pending[number]:
                first = serials[number]
                serials[number] = first + FLOOD_FRAMES
                tokens = (b"F%013d" % serial for serial in range(first, first + FLOOD_FRAMES))
                pending[number] = memoryview(b"".join(head + token + tail for token in tokens))
            with contextlib.suppress(BlockingIOError):
                pending[number] = pending[number][sock.send(pending[number]) :]


@contextlib.contextmanager
def flooded(server: Server, sessions: int) -> Iterator[multiprocessing.process.BaseProcess]:
    """Run `flood` in a separate process until the context ends. Yield the process. The caller may kill it earlier."""
    forks = multiprocessing.get_context("fork")
    running = forks.Event()
    flooder = forks.Process(target=flood, args=(server, sessions, running))
    flooder.start()
    try:
        assert running.wait(DEADLINE_S)
        yield flooder
    finally:
        flooder.kill()
        flooder.join()


def fairness(variant: str) -> Iterator[Figure]:
    """Measure a client's round trips while another client enters orders as fast as the engine accepts them."""
    pings = Pings()
    with processes.engine(variant, tokens="increasing") as server:
        client = processes.log_in(server, "B0")
        alone = processes.round_trips(client, pings.lonely(2_000))
        with flooded(server, 1):
            beside = processes.round_trips(client, pings.lonely(2_000))
        client.close()
    yield Figure(
        "fairness", variant, "a quiet session's p99 while another floods", processes.percentile(beside, 99) / 1e6, "ms",
        "alone", processes.percentile(alone, 99) / 1e6, "3", "1.2",
    )  # fmt: skip


def overload(variant: str) -> Iterator[Figure]:
    """Let five clients send as fast as possible for a minute.

    Measure how much memory the engine uses, and how long it takes until latency is normal again.
    """
    pings = Pings()
    with processes.engine(variant, accounts=FLOODERS + 1, tokens="increasing") as server:
        client = processes.log_in(server, "B0")
        alone_ns = processes.percentile(processes.round_trips(client, pings.lonely(2_000)), 99)
        before = server.rss_bytes()
        with flooded(server, FLOODERS) as flooder:
            peak, received = before, server.state().counters["enters_received"]
            begun = time.monotonic()
            while time.monotonic() < begun + FLOOD_S:
                processes.drain(client)
                client.sendall(soupbintcp.CLIENT_HEARTBEAT_PACKET)
                time.sleep(0.2)
                peak = max(peak, server.rss_bytes())
            rate = (server.state().counters["enters_received"] - received) / (time.monotonic() - begun)
            flooder.kill()
            recovered_s = _recovery_s(client, pings, 2 * alone_ns, time.perf_counter_ns())
        client.close()
    yield Figure("overload", variant, "orders a second taken from five that send all they can", rate, "1/s")
    yield Figure("overload", variant, "memory at the most", peak / 1e6, "MB", "before", before / 1e6, "bounded")
    yield Figure("overload", variant, "until a client's round trips are as before", recovered_s, "s", reach="1")


def _recovery_s(client: socket.socket, pings: Pings, limit_ns: float, since_ns: int) -> float:
    """Return the seconds from `since_ns` until 99 of 100 consecutive round trips took at most `limit_ns`."""
    while True:
        processes.drain(client)
        begun_ns = time.perf_counter_ns()
        times = processes.round_trips(client, pings.lonely(RECOVERED_PINGS))
        if sorted(times)[-2] <= limit_ns:
            return (begun_ns - since_ns) / 1e9
        assert begun_ns - since_ns < DEADLINE_S * 1e9, "the engine does not recover"


def flat(variant: str) -> Iterator[Figure]:
    """Measure memory and disk use during ten million orders. At any time a hundred thousand of them are open."""
    enter = orderflow.frame(ouch.EnterOrder("T" * 14, "B", 100, "S0", orderflow.MID_E4))
    cancel = orderflow.frame(ouch.CancelOrder("T" * 14, 0))

    def batch(first: int) -> bytes:
        entered = b"".join(enter[:4] + b"T%013d" % serial + enter[18:] for serial in range(first, first + IN_FLIGHT))
        ended = range(max(0, first - POPULATION), max(0, first + IN_FLIGHT - POPULATION))
        return entered + b"".join(cancel[:4] + b"T%013d" % serial + cancel[18:] for serial in ended)

    memory, disk = [], []
    with processes.engine(variant, tokens="increasing", budget_bytes=BUDGET_BYTES) as server:
        client = processes.log_in(server, "B0")
        quarter = ORDERS // 4
        for first in range(0, ORDERS, IN_FLIGHT):
            ended = max(0, min(IN_FLIGHT, first + IN_FLIGHT - POPULATION))
            answer = IN_FLIGHT * _ACCEPTED_BYTES + ended * _CANCELED_BYTES
            processes.round_trips(client, [(batch(first), answer)])
            if first // quarter != (first + IN_FLIGHT) // quarter:
                memory.append(server.rss_bytes() / 1e6)
                disk.append(server.disk_bytes() / 1e6)
        client.close()
    yield Figure("flat", variant, "memory after 10 M orders, 100 k open", memory[-1], "MB", "5 M", memory[1], "1.05 x")
    budgets = 2 * BUDGET_BYTES / 1e6
    yield Figure("flat", variant, "disk at the most", max(disk), "MB", "both budgets", budgets, "1.0 x")
