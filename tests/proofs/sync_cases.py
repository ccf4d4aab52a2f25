"""Lets a sync of the journal fail on a real device, starts the engine again, and then simulates a power failure.

This program runs as root on the machine with the device. It reads cases from the file cases.json in the working
directory. For each case it prints a line with the observations. It stops at the first case that fails.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from trading_engine.wire import ouch

from tests.proofs import failing_device
from tests.proofs.durability import judge
from tests.proofs.failing_device import FailingDevice
from tests.unit.engine import process
from tests.unit.engine.process import ENVIRONMENT, Client, EngineProcess

# The time limit is long, because an emulated CPU on a busy machine is slow.
process.DEADLINE_S = 600.0

REFUSED = 2
TOKEN = "the failed"
# Further orders that are written together with the order in question and fill its memory page. Otherwise a later write
# to this page would also write that order.
FILLERS = [f"filler {number:03d}" for number in range(200)]


def main() -> None:
    for case in json.loads(Path("cases.json").read_text(encoding="utf-8")):
        try:
            seen = one_failed_sync(*case)
        except Exception:
            traceback.print_exc()
            print("FAILED", *case, flush=True)
            return
        kind, durability, orders = case
        print("SEEN", json.dumps({"kind": kind, "durability": durability, "orders_before": orders, **seen}), flush=True)


def one_failed_sync(kind: str, durability: str, orders: int) -> dict[str, Any]:
    """Run one case and return its observations.

    Raises AssertionError when a message is lost, except in the case in which one must be lost. `kind` is the device's
    fault and how long it lasts:
      - once: Writes to the journal's sectors fail. They work again before the engine is restarted.
      - still: They also fail at the first restart. The engine must then refuse to serve.
      - all: Every write fails, so ext4 accepts no more writes. A start must be refused until the file system is mounted
        again.
      - unrewritten: Like `once`, but at its start the engine does not write the journal to the disk again. A message
        must be lost.

    `orders` is the number of orders that the client enters before the fault.
    """
    ENVIRONMENT["PYTHONPATH"] = os.environ["PYTHONPATH"]  # the previous case may have changed it
    with (
        tempfile.TemporaryDirectory(prefix="sync-") as name,
        failing_device.made("journal", Path(name)) as device,
    ):
        (device.mount / "journal").mkdir()
        Path(name, "journal").symlink_to(device.mount / "journal")
        engine = EngineProcess(Path(name), journal={"durability": durability})
        try:
            return _one_failed_sync(engine, device, kind, orders)
        finally:
            if engine.process is not None:
                engine.stop(signal.SIGKILL)


def _one_failed_sync(engine: EngineProcess, device: FailingDevice, kind: str, orders: int) -> dict[str, Any]:
    engine.start()
    client = Client(engine.port)
    for number in range(orders):
        _order(client, f"{number:06d}")
    segment = max((device.mount / "journal").glob("*.journal"))
    if kind == "all":
        device.fail_writes()
    else:
        device.fail_writes_of(segment)
    client.send(*map(_entered, [TOKEN, *FILLERS]))
    client.wait(lambda: False)  # until the failed engine ends all connections
    known = client.messages
    cached, stored = segment.read_bytes(), device.stored(segment)
    seen: dict[str, Any] = {"failure": _failure(engine), "answered_at_once": _answered(known), "refused": ""}
    assert all(token.encode() in cached for token in (TOKEN, FILLERS[-1])), "the journal was not written"
    assert TOKEN.encode() not in stored, "the write did not fail"
    engine.stop(signal.SIGKILL)

    if kind in ("still", "all"):
        if kind == "all":
            device.heal()
        seen["refused"] = _refusal(engine)
    if kind == "all":
        device.mount_again()
    else:
        device.heal()
    if kind == "unrewritten":
        ENVIRONMENT["PYTHONPATH"] = f"{_without_rewriting(engine.directory)}:{ENVIRONMENT['PYTHONPATH']}"
    engine.start()
    again = Client(engine.port)
    again.wait_for(len(known))
    _order(again, "after")
    assert again.messages[: len(known)] == known, "a message that was received is gone or changed"
    seen["answered_by_restart"] = _answered(again.messages)

    device.cut_off()
    engine.stop(signal.SIGKILL)
    device.mount_again()
    if kind == "unrewritten":
        seen["lost"] = _loss(engine, again.messages)
        return seen
    engine.start()
    seen["messages_kept"] = judge(engine, again.messages, f"{kind}, {orders} orders")
    return seen


def _entered(token: str) -> ouch.EnterOrder:
    return ouch.EnterOrder(token, "B", 100, "TEST", 1_000_000)


def _order(client: Client, token: str) -> None:
    client.send(_entered(token))
    client.wait(lambda: bool(client.messages) and getattr(client.messages[-1], "token", "") == token)
    assert not client.ended, "the engine has ended the connection"


def _answered(messages: list[Any]) -> bool:
    return any(isinstance(message, ouch.Accepted) and message.token == TOKEN for message in messages)


def _failure(engine: EngineProcess) -> str:
    """Return the failure that the engine reports in its status. The engine still runs."""
    command = [sys.executable, "-m", "trading_engine", "status", "--config", str(engine.config)]
    told = json.loads(subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True).stdout)["failure"]
    assert told, "the engine does not say that it failed"
    return str(told)


def _refusal(engine: EngineProcess) -> str:
    """Start the engine and return its error message. The engine must refuse to serve."""
    command = [sys.executable, "-m", "trading_engine", "--config", str(engine.config)]
    done = subprocess.run(
        command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, timeout=process.DEADLINE_S, check=False
    )
    assert done.returncode == REFUSED, f"exit code {done.returncode}: {done.stderr}"
    return done.stderr.strip().splitlines()[-1]


def _without_rewriting(directory: Path) -> Path:
    """Return a directory for PYTHONPATH. Its module lets the engine start without rewriting the journal.

    This rewrite is what the proof tests. Without it, a message must be lost.
    """
    (directory / "sitecustomize.py").write_text(
        "from trading_engine.storage import journal\njournal.put_on_disk = lambda path: None\n"
    )
    return directory


def _loss(engine: EngineProcess, known: list[Any]) -> str:
    """Return a text that names a lost message. Raises AssertionError when no message is lost."""
    command = [sys.executable, "-m", "trading_engine", "verify", str(engine.directory / "journal")]
    verified = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if verified.returncode:
        return verified.stderr.strip().splitlines()[-1]
    engine.start()
    resumed = Client(engine.port)
    _order(resumed, "the last")
    assert resumed.messages[: len(known)] != known, "all is there without being written anew: this shows nothing"
    return "messages that were received"


if __name__ == "__main__":
    os.umask(0o077)
    main()
