"""Mutated order flow at the core: never an exception, and refused input never changes the books."""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path

from trading_engine import snapshot
from trading_engine.core import Core

from tests.benchmarks import orderflow
from tests.proofs.evidence import Evidence

_STEP = 100_000
_CHECK_EVERY = 1_000


def prove(frames: int) -> Path:
    """Return the record; raises whatever the core raised, with the seed printed."""
    evidence = Evidence("fuzz", frames)
    for seed in range(evidence.done, -(-frames // _STEP)):
        print(f"seed {seed} of {-(-frames // _STEP)}", file=sys.stderr)
        evidence.add(_fuzz(seed))
    total: dict[str, int] = {}
    for result in evidence.results:
        for name, count in result.items():
            total[name] = total.get(name, 0) + count
    return evidence.finish(total)


def _fuzz(seed: int) -> dict[str, int]:
    choose = random.Random(seed)  # noqa: S311  # repeatable, and no secret
    flow = orderflow.Flow(seed, symbols=5, levels=20)
    core = orderflow.open_core(symbols=5)
    ends = refused = 0
    for number in range(_STEP):
        frame = bytearray(flow.mixed())
        mutated = choose.random() < 0.7
        if mutated:
            for _ in range(choose.randrange(1, 4)):
                frame[choose.randrange(len(frame))] = choose.randrange(256)
            if choose.random() < 0.1:
                frame = frame[: choose.randrange(len(frame) + 1)]
        checked = number % _CHECK_EVERY == 0
        before = _books(core) if checked else ""
        rejects = sum(core.rejects) + core.ignored
        core.apply(0, bytes(frame), number * 1_000)
        ends += bool(core.close_reason)
        nothing_accepted = sum(core.rejects) + core.ignored != rejects or core.close_reason
        if checked and nothing_accepted:
            refused += 1
            assert _books(core) == before, f"seed {seed}, frame {number}: refused input changed a book"
        core.discard_outputs()
    return {"frames": _STEP, "connections_ended": ends, "rejected": sum(core.rejects), "books_compared": refused}


def _books(core: Core) -> str:
    state = snapshot.dump(core)
    orders = len([None for account in core.by_number for _ in account.live_orders()])
    return hashlib.sha256(state[len(state) - 64 * orders :]).hexdigest()
