"""Runs an engine that measures its own reloads: python -m tests.proofs.reload_target FILE --config …

A reload works in steps. During each step, orders wait. After a reload the engine writes two numbers to FILE, as JSON:
the CPU time of the longest step in ns, and the number of steps.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from trading_engine.__main__ import main
from trading_engine.process.reload import Reload


def timed(told: Path) -> None:
    """Let the engine measure the steps of every later reload, and write the result to the file `told`."""
    steps = Reload.steps

    def timed_steps(reload: Reload) -> Iterator[None]:
        costs_ns = []
        going = steps(reload)
        while True:
            begun_ns = time.thread_time_ns()
            try:
                next(going)
            except StopIteration:
                break
            finally:
                costs_ns.append(time.thread_time_ns() - begun_ns)
            yield
        told.write_text(json.dumps({"longest_step_ns": max(costs_ns), "steps": len(costs_ns)}))

    Reload.steps = timed_steps  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    timed(Path(sys.argv.pop(1)))
    sys.exit(main())
