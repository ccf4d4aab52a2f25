"""A process that watches the machine while another one measures: as the generator's child, and as `trading-witness`.

It is a process of its own because it has to look ten times a second, whatever the generator does.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from trading_engine.notify import notify

from trading_bench import cpus
from trading_bench.connection import BenchError
from trading_bench.machine import SAMPLE_S, Machine, Record

END_LIMIT_S = 20.0


class Watching:
    """A child that watches. BenchError when it cannot."""

    def __init__(self, watched: list[int], limit_s: float, state: Path | None = None, group: str = "") -> None:
        command = [sys.executable, "-m", "trading_bench.watching", "--cpus", ",".join(map(str, watched))]
        command += ["--limit", str(limit_s), "--group", group]
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
        assert self._child.stdout is not None
        if self._child.stdout.readline() != "ready\n":
            self._child.wait()
            raise BenchError("the machine cannot be watched; the line above says why")

    def end(self) -> Record:
        """Return what was seen."""
        self._child.send_signal(signal.SIGTERM)
        out, _err = self._child.communicate(timeout=END_LIMIT_S)
        record: Record = json.loads(out)
        return record


def main(argv: list[str] | None = None) -> int:
    """Watch until SIGTERM or the limit. Standard output: `ready`, then the record as JSON."""
    arguments = argparse.ArgumentParser(
        prog="trading-witness", description="Watch CPUs with real-time threads, and say what the machine did to them."
    )
    arguments.add_argument("--cpus", type=cpus.parse, required=True, metavar="LIST", help="CPUs to watch, as 0,2-3")
    arguments.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="end by itself after this")
    arguments.add_argument("--state", type=Path, metavar="FILE", help="published state of the engine")
    arguments.add_argument("--group", default="", metavar="NAME", help="control group of the engine's machine")
    arguments.add_argument("--output", type=Path, metavar="FILE", help="write the record there, not to standard output")
    options = arguments.parse_args(argv)
    interrupts: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _frame: interrupts.append(signum))
    try:
        machine = Machine(options.cpus, options.limit + END_LIMIT_S, options.state, options.group)
        machine.start()
    except OSError as error:
        print(f"trading-witness: error: {error}", file=sys.stderr)
        return 1
    others = sorted(set(cpus.usable()) - set(options.cpus))
    if others and sys.platform == "linux":
        os.sched_setaffinity(0, others)
    print("ready", flush=True)
    notify("READY=1")
    end_s = time.monotonic() + options.limit
    while not interrupts and time.monotonic() < end_s:
        time.sleep(SAMPLE_S)
        machine.sample()
    text = json.dumps(machine.stop())
    if options.output:
        partly = options.output.with_name(f".{options.output.name}.part")
        partly.write_text(text, encoding="utf-8")
        partly.rename(options.output)
    else:
        print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
