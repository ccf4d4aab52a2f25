"""Checks that the witness does not take a program's load for a disturbance of the machine.

The witness is a thread that detects when its CPU was taken away or slowed. With a load, it must not mark more time as
disturbed than without a load. Also, the measurement must not set aside more slices. Runs with and without the
load come in pairs, in random order. The statistics are those of the tuning benchmark.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.statistics import verdict
from trading_bench.disturbance import Offset, see
from trading_bench.watching import Watching
from trading_engine.machine import inputs
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.storage import journal

from tests.benchmarks import orderflow, processes, stress
from tests.proofs.evidence import ROOT, Evidence

SOURCES = [ROOT / "files/engine/src/trading_bench"]
CPUS = sorted(os.sched_getaffinity(0))
WATCH_S = 4

HOG = "print('ready', flush=True)\nwhile True: pass"
# Each call copies 64 MB in the kernel, which takes some milliseconds.
LONG_CALLS = """
import os
descriptor = os.memfd_create("copied")
print("ready", flush=True)
while True:
    os.pwrite(descriptor, bytes(64 << 20), 0)
"""
FLOOD = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("ready", flush=True)
while True:
    sender.sendto(b"x" * 64, ("127.0.0.1", int(sys.argv[1])))
"""
# Makes snapshots of the journal in the directory argv[1], as the child process of an engine does.
SNAPSHOTS = """
import pathlib, subprocess, sys
print("ready", flush=True)
while True:
    snapshot = [sys.executable, "-m", "trading_engine", "snapshot", sys.argv[1]]
    subprocess.run(snapshot, stdout=subprocess.DEVNULL, check=True)
    for made in pathlib.Path(sys.argv[1]).glob("*.snapshot"):
        made.unlink()
"""
RESTING_ORDERS = 300_000


@contextmanager
def on_the_last_cpu(code: str, *arguments: str) -> Iterator[None]:
    """Run Python code on the last CPU, on which an engine would run, until the context ends."""
    command = ["taskset", "--cpu-list", str(CPUS[-1]), sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def flood() -> Iterator[None]:
    """Send packets as fast as one CPU can, until the context ends. No process reads them from their loopback socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        with on_the_last_cpu(FLOOD, str(receiver.getsockname()[1])):
            yield


@contextmanager
def flooded_engine() -> Iterator[None]:
    """Run an engine, and let several clients send orders to it as fast as they can, until the context ends."""
    with processes.engine("pure", accounts=stress.FLOODERS + 1) as server:
        server.pin(CPUS[-1])
        with stress.flooded(server, stress.FLOODERS):
            yield


@cache
def journal_of_resting_orders() -> tempfile.TemporaryDirectory[str]:
    """Make a complete journal that ends with RESTING_ORDERS resting orders, and return its directory.

    The directory is removed when this process ends.
    """
    folder = tempfile.TemporaryDirectory(prefix="witness-proof-")
    flow = orderflow.Flow(levels=500)
    writer = journal.Writer(Path(folder.name), 64 << 20, MACHINE_VERSION, 1, 0)
    writer.append(inputs.CONFIGURE, 0, 1, json.dumps(orderflow.settings()).encode())
    writer.append(inputs.START_DAY, 0, 2, b"2026010500")
    for _ in range(RESTING_ORDERS):
        writer.append(inputs.READ, 0, 1_000, flow.rest())
    writer.close()
    return folder


@contextmanager
def snapshots() -> Iterator[None]:
    """Make snapshots of many resting orders, one after the other, until the context ends."""
    with on_the_last_cpu(SNAPSHOTS, journal_of_resting_orders().name):
        yield


CASES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "a hog of normal priority": lambda: on_the_last_cpu(HOG),
    "long system calls": lambda: on_the_last_cpu(LONG_CALLS),
    "a flood of packets": flood,
    "a flooded engine": flooded_engine,
    "snapshots of 300,000 orders": snapshots,
}


def prove(pairs: int) -> Path:
    """Run this many pairs for each kind of load. Write the record and return its path.

    Raises AssertionError in two cases: with a load, the witness marks more time than without one, or more slices count
    as disturbed.
    """
    evidence = Evidence("witness", pairs, SOURCES)
    lot = random.Random(1)  # noqa: S311 (no secret: the same order each time)
    schedule = [(case, number, lot.sample([True, False], 2)) for number in range(pairs) for case in CASES]
    for case, number, order in schedule[evidence.done :]:
        seen = {with_it: _watch(CASES[case] if with_it else None) for with_it in order}
        evidence.add({"case": case, "pair": number, "with": seen[True], "without": seen[False]})
        print(f"{case}: {evidence.results[-1]}", file=sys.stderr)
    verdicts = verdict.judge(
        {
            f"{case}, {what}": [
                (1 + each["with"][what], 1 + each["without"][what]) for each in evidence.results if each["case"] == case
            ]
            for case in CASES
            for what in ("marked_slow", "disturbed_slices")
        }
    )
    path = evidence.finish(
        {
            "pairs": pairs,
            "seconds_each": WATCH_S,
            "verdicts": {name: dataclasses.asdict(each) for name, each in verdicts.items()},
            "each": evidence.results,
        }
    )
    worse = [name for name, each in verdicts.items() if each.verdict == verdict.WORSE]
    assert not worse, f"taken for the machine: {', '.join(worse)}; see {path}"
    return path


def _watch(case: Callable[[], AbstractContextManager[None]] | None) -> dict[str, Any]:
    """Let witnesses watch every CPU for WATCH_S seconds. Return what they have counted.

    `case` is the load during this time. With None there is no load.
    """
    watching = Watching(CPUS, WATCH_S + 30)
    if case is None:
        _wait()
    else:
        with case():
            _wait()
    record = watching.end()
    assert record, "the watch was lost"
    spans = [each.span for each in see([(record, Offset())]).disturbances]
    slow = sum(
        probe_ns > 30 * witness["quiet_loop_ns"]
        for witness in record["witnesses"]
        for _, _, probe_ns in witness["marks"]
    )
    return {
        "marked": sum(len(witness["marks"]) for witness in record["witnesses"]),
        "marked_slow": slow,
        "disturbed_slices": len({begin // 100_000_000 for begin, _end in spans}),
        "cpu_percent": [round(witness["cpu_ns"] / 1e4 / witness["milliseconds"], 2) for witness in record["witnesses"]],
    }


def _wait() -> None:
    """Wait until the time of one watch is over."""
    subprocess.run(["sleep", str(WATCH_S)], check=True)
