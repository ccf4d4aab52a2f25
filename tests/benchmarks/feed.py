"""Measures how long after the reply to an order its market data arrives.

It also measures how much of the engine's CPU time market data takes. The engine passes market data to the feed process
through a ring buffer in shared memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks import processes, variants
from tests.benchmarks.figures import Figure

RATE_PER_S = 10_000
LOAD_S = 10
IDLE = ["chrt", "--idle", "0"]
# An engine with the ring buffer and one without it run in turns, so that the machine is equally fast for both. A loop
# that only writes to the ring buffer would show less than half of the cost, because the buffer and the CRC32 tables
# would stay in the CPU's cache.
_COST = """
import asyncio, gc, statistics, sys, time
from pathlib import Path
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.published.ring import RingWriter
from trading_engine.settings import config, passwords
from trading_engine.wire import ouch, soupbintcp
loop, place, hashed = asyncio.new_event_loop(), Path(sys.argv[1]), passwords.hash_password("x")
def started(name):
    directory = place / name
    directory.mkdir()
    (directory / "engine.toml").write_text(
        '[journal]\\ndirectory = "journal"\\nreserve_bytes = 0\\n[itch]\\ndirectory = "itch"\\n[shared_memory]\\n'
        f'path = "engine.shm"\\n[accounts.ANNA]\\npassword = "{hashed}"\\n'
        '[[symbol]]\\nname = "TEST"\\nreference_price = "100"'
    )
    engine = Engine(config.read(directory / "engine.toml"), loop)
    engine.ring = RingWriter(directory / "ring", directory / "bell") if name == "with" else None
    engine.lock()
    engine.start()
    engine.submit(inputs.CONNECT, 0)
    return engine
engines = {name: started(name) for name in ("with", "without")}
gc.freeze()
gc.disable()
added = []
for block in range(240):
    orders = [ouch.EnterOrder(f"{100 * block + number:014}", "B", 100, "TEST", 1_000_000) for number in range(100)]
    frames = [soupbintcp.unsequenced(ouch.INBOUND.encode(order)) for order in orders]
    took = {}
    for name in sorted(engines, reverse=block % 2 == 1):
        engine = engines[name]
        begun_ns = time.perf_counter_ns()
        for frame in frames:
            engine.read(0, frame, 0)
        took[name] = (time.perf_counter_ns() - begun_ns) / 100
        loop.call_soon(loop.stop)
        loop.run_forever()
        engine.tick()
    added.append(took["with"] - took["without"])
print(statistics.median(added))
for engine in engines.values():
    engine.fail("measured")
    engine.stop()
"""


def feed(variant: str) -> Iterator[Figure]:
    """Measure the cost of the ring buffer. Then measure the time from an order's reply to its market data.

    Market data has arrived when a subscriber has received it. This time is measured at 10,000 orders a second, on one,
    two and three CPUs. A number of CPUs that the machine does not have is left out.
    """
    yield Figure(
        "feed", variant, "added by the ring to the turn of an order in process, alternated", _turn_us(variant), "µs",
        reach="2" if variant == "pure" else "0.5",
    )  # fmt: skip
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 2:
        yield from _delays(
            variant, "engine, feed and load on a CPU each", cpus[-1], cpus[-2], cpus[0], ("150", "1,000")
        )
    if len(cpus) > 1:
        yield from _delays(variant, "two CPUs, load on the feed's", cpus[-1], cpus[-2], cpus[-2], ("", ""))
    yield from _delays(variant, "one CPU", cpus[-1], cpus[-1], cpus[-1], ("", "10,000"))


def _turn_us(variant: str) -> float:
    with tempfile.TemporaryDirectory(prefix="ring-bench-", dir="/dev/shm") as place:  # in memory, like /run
        command = [sys.executable, "-c", _COST, place]
        return float(subprocess.check_output(command, env=variants.environment(variant))) / 1e3


def _delays(
    variant: str, where: str, engine_cpu: int, feed_cpu: int, load_cpu: int, reach: tuple[str, str]
) -> Iterator[Figure]:
    with ExitStack() as running:
        engine = running.enter_context(processes.engine(variant, symbols=1, accounts=1, tokens="increasing"))
        engine.pin(engine_cpu)
        port = running.enter_context(_feed(variant, engine, feed_cpu, beside=engine_cpu == feed_cpu))
        figures = _load(variant, engine, port, load_cpu, engine_cpu)
    disturbance = figures["disturbance"]
    share = 100 * disturbance["set_aside"] / disturbance["slices"]
    quiet_us, whole_us = figures["undisturbed"]["feed_us"] or figures["feed_us"], figures["feed_us"]
    for name, bound in zip(("p50", "p99"), reach, strict=True):
        yield Figure(
            "feed", variant, f"reply to subscriber, {where}: {name} ({share:.0f} % of the time disturbed)",
            quiet_us[name], "µs", "all of the time", whole_us[name], bound,
        )  # fmt: skip
    reply_us = figures["undisturbed"]["latency_corrected_us"] or figures["latency_corrected_us"]
    yield Figure("feed", variant, f"order to reply meanwhile, {where}: p99", reply_us["p99"], "µs")


@contextmanager
def _feed(variant: str, engine: processes.Server, cpu: int, beside: bool) -> Iterator[int]:
    """Run the feed on a CPU until the context ends, and yield the feed's port.

    With `beside` the feed shares the engine's CPU. The feed then runs only when no other process needs this CPU, as on
    a real host.
    """
    assert engine.directory is not None
    config, port = engine.directory / "engine.toml", processes.free_port()
    config.write_text(f"{config.read_text()}\n[market_data]\nport = {port}\n")
    command = [sys.executable, "-c", "import sys; from trading_feed.__main__ import main; sys.exit(main())"]
    command = ["taskset", "--cpu-list", str(cpu), *(IDLE if beside else []), *command, "--config", str(config)]
    process = subprocess.Popen(command, env=variants.environment(variant), stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + processes.DEADLINE_S
        while True:
            try:
                processes.connect(processes.Server(process, port)).close()
                break
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > end_s:
                    raise
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(processes.DEADLINE_S)


def _load(variant: str, engine: processes.Server, feed_port: int, cpu: int, engine_cpu: int) -> dict[str, Any]:
    assert engine.directory is not None
    password, report = engine.directory / "password", engine.directory / "report.json"
    password.write_text(processes.PASSWORD + "\n")
    # A load generator on only one CPU sleeps between orders, so that other processes can use this CPU as well.
    command = ["taskset", "--cpu-list", str(cpu), sys.executable, "-m", "trading_bench", "--host", "127.0.0.1"]
    command += ["--port", str(engine.port), "--feed", str(feed_port), "--account", "B0", "--symbol", "S0"]
    command += ["--password-file", str(password), "--rate", str(RATE_PER_S), "--duration", str(LOAD_S), "--witness"]
    command += ["--keep-off", str(engine_cpu)] if cpu != engine_cpu else []
    command += ["--state", str(engine.directory / "engine.shm"), "--json", str(report)]
    subprocess.run(command, env=variants.environment(variant), stdout=subprocess.DEVNULL, check=True)
    figures: dict[str, Any] = json.loads(Path(report).read_text())
    return figures
