"""Replays a journal several times. All replays must give the same SHA-256.

The replays use the pure and the compiled engine, each with different hash seeds of Python.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from trading_engine.machine import inputs
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.storage import journal

from tests.benchmarks import orderflow, variants
from tests.proofs.evidence import Evidence

_READ = 64
_POPULATION = 50_000  # resting orders of each account, after the first messages
_RUNS = (("pure", "1"), ("pure", "2"), ("compiled", "3"))


def prove(messages: int) -> Path:
    """Replay a journal with this many messages. Write the record and return its path.

    Raises AssertionError when two replays differ.
    """
    evidence = Evidence("determinism", messages)
    with tempfile.TemporaryDirectory(prefix="determinism-") as name:
        directory = Path(name)
        write_journal(directory, messages)
        for variant, hash_seed in _RUNS[evidence.done :]:
            result = subprocess.run(
                [sys.executable, "-m", "trading_engine", "replay", str(directory)],
                env={**variants.environment(variant), "PYTHONHASHSEED": hash_seed},
                stdout=subprocess.PIPE,
                check=True,
            )
            evidence.add({"variant": variant, "hash_seed": hash_seed, **json.loads(result.stdout)})
            print(f"{variant}, hash seed {hash_seed}: {evidence.results[-1]['sha256']['state']}", file=sys.stderr)
    digests = [run["sha256"] for run in evidence.results]
    assert all(digest == digests[0] for digest in digests), digests
    return evidence.finish({"messages": messages, "runs": evidence.results})


def write_journal(directory: Path, messages: int) -> None:
    """Write a journal with orders of two accounts in 100 symbols.

    For the same number of messages, the orders are always the same.
    """
    writer = journal.Writer(directory, 64 << 20, MACHINE_VERSION, 1, 0)
    writer.append(inputs.CONFIGURE, 0, 1, json.dumps(orderflow.settings(accounts=2, tokens="increasing")).encode())
    writer.append(inputs.START_DAY, 0, 2, b"2026010500")
    flows = [orderflow.Flow(seed) for seed in (7, 8)]
    for number, at in enumerate(range(0, messages, _READ)):
        account = number % len(flows)
        frames = (_next(flows[account]) for _ in range(min(_READ, messages - at)))
        writer.append(inputs.READ, account, number * 1_000, b"".join(frames))
    writer.close()


def _next(flow: orderflow.Flow) -> bytes:
    return flow.mixed() if len(flow.alive) > _POPULATION else flow.rest()
