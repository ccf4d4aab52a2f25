"""The process that observes a host's CPUs during a run (`trading_bench.machine`).

On the generator's host this is a child process of the generator. On the engine's host it is the program
`trading-witness`. It is a process of its own, so that the generator cannot delay its samples.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from trading_engine.host.notify import notify

from trading_bench import cpus
from trading_bench.connection import BenchError
from trading_bench.machine import READY_LIMIT_S, SAMPLE_S, Machine, Outside, Record, says_ready

END_LIMIT_S = 20.0  # the time to end; it includes the ten seconds that the witnesses may need


class Watching:
    """The child process of the generator that observes CPUs. It is started at once.

    BenchError is raised if it cannot observe the CPUs. `watched` are the CPUs for witnesses. `state` is the file of the
    engine's published state. `group` is the control group of the engine's machine, if that machine has reserved CPUs.
    `process` is the id of the engine's process, if that process has reserved CPUs. `generator` is the generator's
    process id, or 0 if it may share CPUs with the engine.
    """

    def __init__(
        self,
        watched: list[int],
        limit_s: float,
        state: Path | None = None,
        group: str = "",
        process: int = 0,
        generator: int = 0,
    ) -> None:
        command = [sys.executable, "-m", "trading_bench.watching", "--cpus", ",".join(map(str, watched))]
        command += ["--limit", str(limit_s), "--group", group, "--process", str(process)]
        command += ["--generator", str(generator)]
        command += ["--state", str(state)] if state else []
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        if not says_ready(self._child, READY_LIMIT_S):
            self._child.kill()
            self._child.wait()
            raise BenchError("the machine cannot be watched; the line above says why")

    def end(self) -> Record | None:
        """End the child process and return its record of the CPUs, or None if it wrote none in time."""
        self._child.send_signal(signal.SIGTERM)
        try:
            out, _err = self._child.communicate(timeout=END_LIMIT_S)
            record: Record = json.loads(out)
        except (subprocess.TimeoutExpired, ValueError):
            self._child.kill()
            self._child.wait()
            print("trading-bench: the watch of the machine was lost; every slice counts", file=sys.stderr)
            return None
        return record


def main(argv: list[str] | None = None) -> int:
    """Observe the CPUs until SIGTERM, SIGINT or the time limit, and return an exit code.

    The line `ready` is written to standard output when all witnesses run. At the end the record is written as JSON, to
    standard output or to the file of the option --output.
    """
    arguments = argparse.ArgumentParser(
        prog="trading-witness", description="Watch CPUs with real-time threads, and say what the machine did to them."
    )
    arguments.add_argument("--cpus", type=cpus.parse, required=True, metavar="LIST", help="CPUs to watch, as 0,2-3")
    arguments.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="end by itself after this")
    arguments.add_argument("--state", type=Path, metavar="FILE", help="published state of the engine")
    arguments.add_argument("--group", default="", metavar="NAME", help="control group of the engine's machine")
    arguments.add_argument("--process", type=int, default=0, metavar="PID", help="engine with CPUs for itself")
    arguments.add_argument(
        "--generator", type=int, default=0, metavar="PID", help="generator that shares no CPU with the engine"
    )
    arguments.add_argument("--output", type=Path, metavar="FILE", help="write the record there, not to standard output")
    options = arguments.parse_args(argv)
    interrupts: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _frame: interrupts.append(signum))
    try:
        outside = Outside.of_group(options.group) if options.group else None
        if options.process:
            outside = Outside.of_process(options.process)
        machine = Machine(options.cpus, options.limit + END_LIMIT_S, options.state, outside, options.generator)
        machine.start()
    except OSError as error:
        print(f"trading-witness: error: {error}", file=sys.stderr)
        return 1
    try:
        record = _watch(machine, options.cpus, options.limit, interrupts)
    except BaseException:
        machine.abandon()
        raise
    text = json.dumps(record)
    if options.output:
        partly = options.output.with_name(f".{options.output.name}.part")
        partly.write_text(text, encoding="utf-8")
        partly.rename(options.output)
    else:
        print(text, flush=True)
    return 0


def _watch(machine: Machine, watched: list[int], limit_s: float, interrupts: list[int]) -> Record:
    others = sorted(set(cpus.usable()) - set(watched))
    if others and sys.platform == "linux":
        os.sched_setaffinity(0, others)
    print("ready", flush=True)
    notify("READY=1")
    end_s = time.monotonic() + limit_s
    while not interrupts and time.monotonic() < end_s:
        time.sleep(SAMPLE_S)
        machine.sample()
    return machine.stop()


if __name__ == "__main__":
    sys.exit(main())
