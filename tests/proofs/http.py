"""Sends arbitrary HTTP requests to telemetry.

No request may cause an internal error, hang, or let the memory grow. The requests come from three sources. Stored files
have typical requests, and requests that once failed. Hypothesis makes random bytes. Schemathesis makes requests from
the schema at /api. A step takes one minute. All steps use the same service process. After an interruption, a new
process serves the remaining steps.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.proofs.evidence import ROOT, Evidence
from tests.unit.telemetry import api_fuzzer
from tests.unit.telemetry.fuzzed_service import TOKEN, Target, started
from tests.unit.telemetry.random_requests import requests
from tests.unit.telemetry.raw_connection import asked

_TELEMETRY = ROOT / "files/engine/src/trading_telemetry"
_CORPUS = sorted((ROOT / "tests/unit/telemetry/requests").glob("*/*.http"))
_MINUTE_S = 60.0
_RAW_A_TIME = 200
_WARM_UP_MINUTES = 5
_GROWTH_BYTES = 6 << 20
"""How much a process may grow after the first minutes, by memory fragmentation.

A leak of 100 bytes for each request exceeds it.
"""
_GROWTH_BLOCKS = 10_000
"""How many more memory blocks Python may use after the first minutes, for caches and for larger integers.

An hour has 200,000 requests, so this is a twentieth of a block for each. A request that leaks keeps several blocks.
"""


def prove(minutes: int) -> Path:
    """Send requests for this many minutes. Write the record and return its path.

    Raises AssertionError, TimeoutError or HTTPException when a request has a forbidden effect.
    """
    evidence = Evidence("http", minutes, (_TELEMETRY,))
    sizes: list[int] = []
    blocks: list[int] = []
    with tempfile.TemporaryDirectory(prefix="http-") as name, started(Path(name)) as target:
        while evidence.done < minutes:
            result = _minute(target, Path(name))
            sizes.append(result["resident_bytes"])
            blocks.append(result["held_blocks"])
            evidence.add(result)
            print(f"{evidence.done} of {minutes} minutes: {result}", file=sys.stderr)
            warm = max(sizes[:_WARM_UP_MINUTES])
            assert sizes[-1] <= warm + _GROWTH_BYTES, f"memory grew from {warm} to {sizes[-1]} bytes"
            held = max(blocks[:_WARM_UP_MINUTES])
            assert blocks[-1] <= held + _GROWTH_BLOCKS, f"from {held} to {blocks[-1]} blocks of memory are held"
    totals = {kind: sum(each[kind] for each in evidence.results) for kind in ("kept", "raw", "described")}
    memory = {kind: [each[kind] for each in evidence.results] for kind in ("resident_bytes", "held_blocks")}
    return evidence.finish({"minutes": minutes, **totals, **memory})


def _minute(target: Target, directory: Path) -> dict[str, int]:
    begun_s = time.monotonic()
    number = secrets.randbits(32)
    for path in _CORPUS:
        port = target.guarded_port if path.parent.name == "guarded" else target.open_port
        assert asked(port, TOKEN, path.read_bytes()) == (int(path.stem[:3]), 200), path
    described = api_fuzzer.fuzz(target.open_port, directory, f"--seed={number}", "--max-time=25")
    raw = 0
    while time.monotonic() - begun_s < _MINUTE_S:
        raw += _send_raw(target, number + raw)
    return {"kept": len(_CORPUS), "raw": raw, "described": described, **_memory(target)}


def _send_raw(target: Target, number: int) -> int:
    """Send 200 random requests to each of the two services: the one that requires a token, and the one that does not.

    Return the number of requests that were sent.
    """
    sent = 0

    @seed(number)
    @settings(
        max_examples=_RAW_A_TIME,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(request=requests())
    def send(request: bytes) -> None:
        nonlocal sent
        for port in (target.open_port, target.guarded_port):
            statuses = asked(port, TOKEN, request)
            assert max(statuses) < 500, (statuses, request)
            sent += 1

    send()
    return sent


def _memory(target: Target) -> dict[str, int]:
    return {"held_blocks": target.held_blocks, "resident_bytes": target.resident_bytes}
