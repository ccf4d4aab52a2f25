"""The engine dies at chosen writes and syncs of its journal; a client's own log judges what came back.

After every death: what the client had received is still the beginning of its stream, nothing is there twice, and an
independent replay of the journal has exactly the orders open that the client's messages leave open.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from trading_engine.wire import ouch

from tests.proofs.evidence import Evidence
from tests.unit.engine.process import ENVIRONMENT, Client, EngineProcess

KINDS = ("kill-before", "kill-after", "kill-short", "short", "enospc", "sync-eio", "sync-kill")
_BATCH = 10


def prove(deaths: int) -> Path:
    """Return the record of that many deaths; raises AssertionError at the first loss."""
    evidence = Evidence("durability", deaths)
    with tempfile.TemporaryDirectory(prefix="durability-") as name:
        library = Path(name) / "faults.so"
        source = Path(__file__).with_name("faults.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(source), "-ldl"], check=True)
        for number in range(evidence.done, deaths):
            kind = KINDS[number % len(KINDS)]
            durability = ("os", "disk")[number // len(KINDS) % 2]
            at = 4 + number // len(KINDS) * 3 % 60
            directory = Path(name) / str(number)
            directory.mkdir()
            messages = _one_death(directory, library, kind, at, durability)
            evidence.add([kind, durability, at, messages])
            print(f"{number + 1}/{deaths}: {kind} at {at}, {durability}: {messages} messages kept", file=sys.stderr)
    kinds = Counter(f"{kind}, {durability}" for kind, durability, _, _ in evidence.results)
    received = sum(messages for *_, messages in evidence.results)
    return evidence.finish({"deaths": deaths, "by_kind": dict(sorted(kinds.items())), "messages_checked": received})


def _one_death(directory: Path, library: Path, kind: str, at: int, durability: str) -> int:
    ENVIRONMENT.update(LD_PRELOAD=str(library), FAULT=f"{kind}:{at}")
    with EngineProcess(directory, journal={"durability": durability}) as engine:
        del ENVIRONMENT["LD_PRELOAD"], ENVIRONMENT["FAULT"]
        client = Client(engine.port)
        batches = itertools.count()
        while not client.ended:
            received = len(client.messages)
            _send(client, next(batches))
            client.wait(lambda before=received: len(client.messages) >= before + _BATCH)  # type: ignore[misc]
        if engine.process is not None and engine.process.poll() is None:
            engine.stop(signal.SIGKILL)  # it lives on, latched as failed
        known = client.messages
        engine.start()
        again = Client(engine.port)
        again.send(ouch.EnterOrder("the last", "B", 1, "TEST", 10_000))
        again.wait(lambda: bool(again.messages) and getattr(again.messages[-1], "token", "") == "the last")
        resumed = again.messages
        assert resumed[: len(known)] == known, f"{kind}:{at}: a message that was received is gone or changed"
        accepted = [message.token for message in resumed if isinstance(message, ouch.Accepted)]
        assert len(accepted) == len(set(accepted)), f"{kind}:{at}: an order was accepted twice"
        engine.stop()
        again.wait(lambda: False)
    replayed = json.loads(
        subprocess.run(
            [sys.executable, "-m", "trading_engine", "replay", str(directory / "journal")],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    assert replayed["open_orders"] == len(_open(resumed)), f"{kind}:{at}: replay and the client's log disagree"
    return len(known)


def _send(client: Client, batch: int) -> None:
    orders = [
        ouch.EnterOrder(f"{batch:06d}-{number}", "BS"[number % 2], 100, "TEST", 1_000_000 + number * 100)
        for number in range(_BATCH)
    ]
    try:
        client.send(*orders)
    except OSError:
        client.wait(lambda: False)


def _open(messages: list[Any]) -> dict[str, int]:
    """Return the shares of every order that the messages leave open."""
    shares: dict[str, int] = {}
    for message in messages:
        if isinstance(message, ouch.Accepted):
            shares[message.token] = message.shares
        elif isinstance(message, ouch.Executed):
            shares[message.token] -= message.shares
        elif isinstance(message, ouch.Canceled):
            shares[message.token] -= message.decrement_shares
    return {token: left for token, left in shares.items() if left}
