"""Kills the engine before, during or after its system calls on the journal, or lets these calls fail.

After each death, the engine starts again. A client then reads the session from its beginning. The messages that it had
received before must come first, in the same order and without duplicates. A separate replay of the journal must give
the same messages byte by byte. Its open orders must be exactly those that these messages leave open.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from trading_engine.wire import ouch, soupbintcp

from tests.benchmarks import variants
from tests.proofs.evidence import Evidence
from tests.unit.engine.process import DEADLINE_S, ENVIRONMENT, Client, EngineProcess

_BATCH = 70  # orders in one read of 3.6 KB, so that a segment is full after 18 reads
_SEGMENT_BYTES = 1 << 16
_WRITES = 40  # more than two segments
# For each system call: what can happen at the chosen call, and from how many first calls it is chosen.
_FAULTS = {
    "write": (("kill-before", "kill-short", "kill-after", "short", "ENOSPC"), _WRITES),
    "fdatasync": (("kill-before", "kill-after", "EIO"), 8),
    "fsync": (("kill-before", "kill-after", "EIO"), 2),
    "rename": (("kill-before", "kill-after", "EIO"), 3),
    "ftruncate": (("kill-before", "kill-after", "EIO"), 2),
    "fallocate": (("kill-before", "kill-after", "ENOSPC"), 3),
}
# For each system call: how many of its calls happen before the engine accepts connections. When one of these fails, the
# start fails. The next start must succeed.
_AT_START = {"write": 3, "rename": 1, "fallocate": 1}


class Case(NamedTuple):
    variant: str
    call: str
    action: str
    at: int
    durability: str

    def __str__(self) -> str:
        return f"{self.variant}: {self.call} {self.at}, {self.action}, {self.durability}"


CASES = [
    Case(variant, call, action, at, durability)
    for call, (actions, calls) in _FAULTS.items()
    for at in range(1, calls + 1)
    for action in actions
    for durability in ("os", "disk")
    for variant in ("pure", "compiled")
]


def prove(deaths: int) -> Path:
    """Kill the engine this many times, about equally often in each case. Write the record and return its path.

    Raises AssertionError at the first lost message.
    """
    evidence = Evidence("durability", deaths)
    for variant in ("pure", "compiled"):
        variants.confirmed(variant)
    with tempfile.TemporaryDirectory(prefix="durability-") as name:
        library = Path(name) / "faults.so"
        source = Path(__file__).with_name("faults.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(source), "-ldl"], check=True)
        for number in range(evidence.done, deaths):
            case = CASES[number * len(CASES) // deaths if deaths < len(CASES) else number % len(CASES)]
            directory = Path(name) / str(number)
            directory.mkdir()
            messages = _one_death(directory, library, case)
            evidence.add([*case, messages])
            print(f"{number + 1}/{deaths}: {case}: {messages} messages kept", file=sys.stderr)
    kinds = Counter(", ".join((*names, durability)) for *names, _, durability, _ in evidence.results)
    received = sum(messages for *_, messages in evidence.results)
    return evidence.finish(
        {"deaths": deaths, "boundaries": len(CASES), "by_kind": dict(sorted(kinds.items())), "messages_kept": received}
    )


def _one_death(directory: Path, library: Path, case: Case) -> int:
    settings = {"durability": case.durability, "segment_bytes": _SEGMENT_BYTES}
    engine = EngineProcess(directory, journal=settings)
    ENVIRONMENT["PYTHONPATH"] = variants.environment(case.variant)["PYTHONPATH"]
    try:
        ENVIRONMENT.update(LD_PRELOAD=str(library), FAULT=f"{case.call}:{case.action}:{case.at}")
        known: list[Any] = []
        if case.at <= _AT_START.get(case.call, 0):
            command = [sys.executable, "-m", "trading_engine", "--config", str(engine.config)]
            died = subprocess.run(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL, timeout=DEADLINE_S, check=False)
            assert died.returncode != 0, f"{case}: it started"
        else:
            known = _trade_until_the_end(engine) if _starts(engine) else []
            engine.stop(signal.SIGKILL)  # after a failed call it still runs, but serves no client
        del ENVIRONMENT["LD_PRELOAD"], ENVIRONMENT["FAULT"]
        engine.start()
        return judge(engine, known, case)
    finally:
        if engine.process is not None:
            engine.stop(signal.SIGKILL)


def _starts(engine: EngineProcess) -> bool:
    """Start the engine. Return whether it serves clients.

    It may die earlier, because it syncs the journal for the first time before it serves.
    """
    try:
        engine.start()
    except TimeoutError:
        assert engine.process is not None
        assert engine.process.poll() is not None, "it neither serves nor dies"
        return False
    return True


def _trade_until_the_end(engine: EngineProcess) -> list[Any]:
    """Send orders until the engine disconnects or has ended. Return the messages that were received."""
    try:
        client = Client(engine.port)
    except ConnectionRefusedError:  # the engine has failed already
        return []
    for batch in itertools.count():
        wanted = len(client.messages) + _BATCH
        try:
            client.send(*(_order(batch, number) for number in range(_BATCH)))
        except OSError:
            client.wait(lambda: False)
        client.wait(lambda wanted=wanted: len(client.messages) >= wanted)  # type: ignore[misc]
        if client.ended:
            break
    return client.messages


def _order(batch: int, number: int) -> ouch.EnterOrder:
    return ouch.EnterOrder(f"{batch:06d}-{number:03d}", "BS"[number % 2], 100, "TEST", 1_000_000 + number * 100)


def judge(engine: EngineProcess, known: list[Any], case: object) -> int:
    """Compare the messages of the restarted engine with `known`, the messages that were received before.

    Return the number of messages in `known`. Raises AssertionError when one is missing or comes twice. Also raises it
    when a replay of the journal gives other messages.
    """
    again = Client(engine.port)
    again.send(ouch.EnterOrder("the last", "B", 1, "TEST", 10_000))
    again.wait(lambda: bool(again.messages) and getattr(again.messages[-1], "token", "") == "the last")
    resumed = again.messages
    assert resumed[: len(known)] == known, f"{case}: a message that was received is gone or changed"
    accepted = [message.token for message in resumed if isinstance(message, ouch.Accepted)]
    assert len(accepted) == len(set(accepted)), f"{case}: an order was accepted twice"
    engine.stop()
    again.wait(lambda: False)
    command = [sys.executable, "-m", "trading_engine", "replay", str(engine.directory / "journal")]
    replayed = json.loads(subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True).stdout)
    assert replayed["sha256"]["replies"]["ANNA"] == _digest(again.raw), f"{case}: replay says something else"
    assert replayed["open_orders"] == len(_open(resumed)), f"{case}: replay and the client's log disagree"
    return len(known)


def _digest(raw: bytes) -> str:
    """Return the SHA-256 of the sequenced packets in the bytes that a client received."""
    said = hashlib.sha256()
    for kind, payload in soupbintcp.Splitter().feed(raw):
        if kind == soupbintcp.SEQUENCED:
            said.update((len(payload) + 1).to_bytes(2, "big") + b"S" + payload)
    return said.hexdigest()


def _open(messages: list[Any]) -> dict[str, int]:
    """Return the open shares of each order that these messages leave open, by the order's token."""
    shares: dict[str, int] = {}
    for message in messages:
        if isinstance(message, ouch.Accepted):
            shares[message.token] = message.shares
        elif isinstance(message, ouch.Executed):
            shares[message.token] -= message.shares
        elif isinstance(message, ouch.Canceled):
            shares[message.token] -= message.decrement_shares
    return {token: left for token, left in shares.items() if left}
