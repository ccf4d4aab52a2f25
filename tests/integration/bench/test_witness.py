"""The witness on this machine's CPUs. It is a thread that detects when its CPU was taken away or slowed.

The tests check which milliseconds the witness marks as disturbed. They need root, because the witness has real-time
priority.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from trading_bench.disturbance import Offset, see
from trading_bench.machine import find_group, ran_ns, real_time_tasks

CPU = max(os.sched_getaffinity(0))
OTHERS = sorted(os.sched_getaffinity(0) - {CPU})
SOURCES = Path(__file__).parents[3] / "files/engine/src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCES)}

# For one second, stop a process for 100 µs, then let it run for 10 µs, and so on. Its work then takes ten times as
# long.
STOP_AND_GO = """
import os, signal, sys, time
process, end_ns = int(sys.argv[1]), time.monotonic_ns() + 1_000_000_000
while time.monotonic_ns() < end_ns:
    for number, lasts_ns in ((signal.SIGSTOP, 100_000), (signal.SIGCONT, 10_000)):
        os.kill(process, number)
        turn_ns = time.monotonic_ns() + lasts_ns
        while time.monotonic_ns() < turn_ns:
            pass
"""
# Uses the CPU for 20 ms of every 100 ms.
HOG = """
import time
print("hogging", flush=True)
while True:
    turn_ns = time.monotonic_ns() + 20_000_000
    while time.monotonic_ns() < turn_ns:
        pass
    time.sleep(0.08)
"""

SPIN = """
print("spinning", flush=True)
while True:
    pass
"""


@contextmanager
def running(*command: str, wait_for: str = "") -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            if wait_for:
                assert process.stdout.readline().strip() == wait_for
            yield process
        finally:
            process.kill()


def record(witness: subprocess.Popen[str]) -> dict[str, Any]:
    witness.send_signal(signal.SIGTERM)
    out, _err = witness.communicate(timeout=20)
    found: dict[str, Any] = json.loads(out)
    return found


WITNESS = [sys.executable, "-c", "from trading_bench.witness import main; main()", str(CPU), "30"]


def test_a_cpu_that_is_taken_away_in_slices_is_marked_as_slow() -> None:
    """When the CPU is taken away from the witness for short times, the witness marks these times as slow.

    Signals stop and continue the witness. They act like a hypervisor that takes the CPU away for 100 µs at a time.
    """
    if not OTHERS:
        pytest.skip("one CPU: nobody can stop the witness from another")
    with running(*WITNESS, wait_for="ready") as witness:
        others = ",".join(map(str, OTHERS))
        subprocess.run(
            ["taskset", "--cpu-list", others, sys.executable, "-c", STOP_AND_GO, str(witness.pid)], check=True
        )
        seen = record(witness)
    assert not seen["refused"]
    whole = {"witnesses": [seen], "outside_cpus": 0, "samples": [], "stalls": []}
    assert "the CPU was slowed" in {each.cause for each in see([(whole, Offset())]).disturbances}


def test_what_a_real_time_task_above_it_takes_is_told_with_its_name() -> None:
    hog = ["chrt", "--fifo", "95", "taskset", "--cpu-list", str(CPU), sys.executable, "-c", HOG]
    with (
        running(*hog, wait_for="hogging") as hogging,
        running(sys.executable, "-m", "trading_bench.watching", "--cpus", str(CPU), wait_for="ready") as watch,
    ):
        assert hogging.pid in real_time_tasks([CPU])
        end_ns = ran_ns(hogging.pid) + 100_000_000
        while ran_ns(hogging.pid) < end_ns:
            assert hogging.poll() is None
        seen = record(watch)
    assert [name for name in seen["real_time_tasks"] if f"({hogging.pid})" in name]
    assert sum(sample.get("real_time_ns", 0) for sample in seen["samples"]) > 50_000_000


def test_what_another_program_takes_of_the_generator_s_cpu_is_told() -> None:
    here = ["taskset", "--cpu-list", str(CPU), sys.executable, "-c"]
    with running(*here, SPIN, wait_for="spinning") as generator:
        watching = [sys.executable, "-m", "trading_bench.watching", "--cpus", str(CPU), "--generator"]
        with (
            running(*watching, str(generator.pid), wait_for="ready") as watch,
            running(*here, HOG, wait_for="hogging") as hogging,
        ):
            while ran_ns(hogging.pid) < 200_000_000:
                assert hogging.poll() is None
            seen = record(watch)
    assert sum(sample.get("waited_ns", 0) for sample in seen["samples"]) > 100_000_000


def test_a_watch_of_a_cpu_that_is_not_here_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trading_bench.watching", "--cpus", "4095"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("trading-witness: error: CPU 4095 cannot be watched")


def test_a_group_that_holds_no_machine_is_named() -> None:
    with pytest.raises(OSError, match="no control group 'nowhere' holds a machine's CPUs"):
        find_group("nowhere")
