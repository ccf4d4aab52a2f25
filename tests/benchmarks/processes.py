"""Runs the servers that benchmarks measure, and sends orders to them.

The servers are an engine and, for comparison, a uvloop server that echoes the bytes it gets.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from trading_engine.published.shm import State, StateReader
from trading_engine.settings.passwords import hash_password
from trading_engine.wire import soupbintcp

from tests.benchmarks import orderflow, variants

PASSWORD = "bench"
DEADLINE_S = 60.0
_ECHO = """
import asyncio, sys, uvloop
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(data)
async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await server.serve_forever()
uvloop.run(main())
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process: its address, and how much CPU time, memory and disk it uses."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        port: int,
        directory: Path | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.process = process
        self.port = port
        self.directory = directory
        self.address = address

    def cpu_ns(self) -> int:
        """Return how much CPU time the main thread has used, in ns."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0])

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def disk_bytes(self) -> int:
        """Return how many bytes the files of journal and market data have. The snapshots are included."""
        assert self.directory is not None
        kept = (self.directory / "journal", self.directory / "itch")
        return sum(path.stat().st_size for place in kept for path in place.rglob("*") if path.is_file())

    def pin(self, cpu: int) -> None:
        os.sched_setaffinity(self.process.pid, {cpu})

    def state(self) -> State:
        assert self.directory is not None
        reader = StateReader(self.directory / "engine.shm")
        try:
            return reader.read()
        finally:
            reader.close()


@contextmanager
def echo() -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", _ECHO, str(port)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield Server(process, port)
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


@contextmanager
def engine(
    variant: str,
    symbols: int = 100,
    accounts: int = 2,
    durability: str = "os",
    tokens: str = "any",
    budget_bytes: int = 8 << 30,
    canary: str = "",
    program: Sequence[str] = ("trading_engine",),
    address: str = "127.0.0.1",
    proxy_port: int = 0,
) -> Iterator[Server]:
    """Run an engine in a temporary directory, with accounts B0, B1, … and symbols S0, S1, … Yield it once it serves.

    `program` is the module that runs the engine, and the arguments before the engine's own arguments.
    """
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as name:
        directory, port = Path(name), free_port()
        hashed = hash_password(PASSWORD)
        lines = [
            "[order_entry]", f'address = "{address}"', f"port = {port}", f"proxy_port = {proxy_port}",
            "[journal]", 'directory = "journal"', f'durability = "{durability}"',
            f"budget_bytes = {budget_bytes}", "reserve_bytes = 0",
            "[itch]", 'directory = "itch"', f"budget_bytes = {budget_bytes}",
            "[shared_memory]", 'path = "engine.shm"', "[admin]", 'socket = "admin.sock"',
            "[risk]", "max_order_notional = 100000000", "[canary]", f'symbol = "{canary}"',
        ]  # fmt: skip
        for number in range(accounts):
            lines += [f"[accounts.B{number}]", f'password = "{hashed}"', f'tokens = "{tokens}"']
        tick = f'tick = "{orderflow.TICK_E4 / 10_000}"'
        for number in range(symbols):
            lines += ["[[symbol]]", f'name = "S{number}"', 'reference_price = "100"', tick]
        (directory / "engine.toml").write_text("\n".join(lines))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(directory / "notify"))
            ready.settimeout(DEADLINE_S)
            process = subprocess.Popen(
                [sys.executable, "-m", *program, "--config", str(directory / "engine.toml")],
                env={**variants.environment(variant), "NOTIFY_SOCKET": str(directory / "notify")},
                start_new_session=True,
            )
            try:
                ready.recv(4096)
                yield Server(process, port, directory, address)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # also kills a child that makes a snapshot
                process.communicate(timeout=DEADLINE_S)


def connect(server: Server) -> socket.socket:
    sock = socket.create_connection((server.address, server.port), timeout=DEADLINE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def log_in(server: Server, account: str, sequence: int = 0) -> socket.socket:
    """Log in and return the connection.

    The server sends all messages from the number `sequence` on. When `sequence` is 0, it sends only new messages.
    """
    sock = connect(server)
    sock.sendall(soupbintcp.login_request(account, PASSWORD, "", sequence))
    answer = sock.recv(33, socket.MSG_WAITALL)
    assert answer[2:3] == b"A", answer
    return sock


def longest_stall(server: Server) -> tuple[float, str]:
    """Return how long the engine's longest stall since its start was, in ms.

    Also return a text that tells how many stalls each cause had.
    """
    state = server.state()
    counts = {name.removeprefix("stalls_"): n for name, n in state.counters.items() if name.startswith("stalls_") and n}
    return state.gauges["stall_max_ns"] / 1e6, ", ".join(f"{n} {cause}" for cause, n in counts.items()) or "none"


def drain(sock: socket.socket) -> None:
    """Discard the bytes that have arrived. They are heartbeats, which the server sends on an idle connection."""
    sock.setblocking(False)
    with suppress(BlockingIOError):
        while sock.recv(1 << 16):
            pass
    sock.settimeout(DEADLINE_S)


def round_trips(sock: socket.socket, work: list[tuple[bytes, int]]) -> list[int]:
    """Send each batch once the answer to the previous batch is complete. Return the time of each round trip in ns."""
    times = []
    for data, size in work:
        begun = time.perf_counter_ns()
        sock.sendall(data)
        left = size
        while left > 0:
            received = len(sock.recv(min(left, 1 << 16)))
            if received == 0:
                raise ConnectionError("the server closed the connection")
            left -= received
        times.append(time.perf_counter_ns() - begun)
    return times


@contextmanager
def windowed_client() -> Iterator[Path]:
    """Compile windowed_client.c and yield the path of the program. This client keeps several orders in flight."""
    with tempfile.TemporaryDirectory(prefix="windowed-client-") as name:
        program = Path(name) / "windowed-client"
        source = Path(__file__).with_name("windowed_client.c")
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)], check=True)
        yield program


def in_flight(program: Path, sock: socket.socket, work: list[tuple[bytes, int]], count: int) -> float:
    """Send all of `work`, with `count` orders in flight at any time. Return the time in seconds."""
    sock.setblocking(True)
    result = subprocess.run(
        [str(program), str(sock.fileno()), str(count)],
        input=b"".join(struct.pack("<II", len(data), answer) + data for data, answer in work),
        pass_fds=[sock.fileno()],
        stdout=subprocess.PIPE,
        timeout=DEADLINE_S,
        check=True,
    )
    return int(result.stdout) / 1e9


def percentile(times: list[int], percent: float) -> float:
    ordered = sorted(times)
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))])
