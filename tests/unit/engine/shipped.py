"""Makes the journal that `trading-engine self-check` replays: python -m tests.unit.engine.shipped

Run it after a change of the engine's behaviour. The same sources always make the same bytes. So git shows a difference
only when the journal has changed.
"""

from __future__ import annotations

import json
from pathlib import Path

from trading_engine.machine import inputs
from trading_engine.machine.account import Account
from trading_engine.machine.core import Core
from trading_engine.machine.inputs import apply_record
from trading_engine.process import selfcheck, tools
from trading_engine.storage import journal

from tests.unit.engine.flow import reads
from tests.unit.engine.market import settings_of

_DAYS = (b"2026010500", b"2026010600")
SEGMENT = "000000000001.journal"
_SEGMENT_BYTES = 1 << 18
_READS = 60  # on the first day
_MORE_READS = 15
_LONGEST_TIME_IN_FORCE_NS = 2_000_000_000
_ADMIN = (
    {"do": "halt", "symbol": "OTHER"},
    {"do": "resume", "symbol": "OTHER"},
    {"do": "kill", "account": "B"},
    {"do": "unkill", "account": "B"},
)


class Recording:
    """A core, and a journal with the core's inputs. The journal names no version, so every version can replay it."""

    def __init__(self, directory: Path) -> None:
        self.core = Core()
        self.writer = journal.Writer(directory, _SEGMENT_BYTES, "", 1, 0)
        self.time_ns = 1_000

    def record(self, kind: int, account: int = 0, payload: bytes = b"") -> None:
        self.time_ns += 7_000_000
        apply_record(self.core, inputs.Record(kind, 0, self.time_ns, account, payload))
        self.core.discard_outputs()
        self.writer.append(kind, account, self.time_ns, payload)


def _open_tokens(account: Account) -> list[bytes]:
    return sorted(token for shard in range(account.shard_count()) for token in account.live_tokens(shard, 1 << 20))


def write(directory: Path) -> None:
    """Write a journal with records of every kind. It contains messages of every kind and with every outcome."""
    recording = Recording(directory)
    symbols = ("TEST", "OTHER")
    settings = settings_of(symbols, self_match="cancel_resting", max_order_shares=450, max_open_orders=40)
    recording.record(inputs.CONFIGURE, payload=json.dumps(settings).encode())
    recording.record(inputs.START_DAY, payload=_DAYS[0])
    for account in range(3):
        recording.record(inputs.CONNECT, account)
    messages = reads(11, _READS + _MORE_READS)
    for number, (account, data) in enumerate(messages[:_READS]):
        recording.record(inputs.READ, account, data)
        if number % 12 == 11:
            recording.record(inputs.ADMIN, payload=json.dumps(_ADMIN[number // 12 % len(_ADMIN)]).encode())
        if number == _READS // 2:
            recording.record(inputs.ACCEPTING, payload=inputs.NO_SPACE)
        if number == _READS // 2 + 2:
            recording.record(inputs.ACCEPTING, payload=inputs.ENTRY_CLOSED)
        if number == _READS // 2 + 4:
            recording.record(inputs.ACCEPTING, payload=inputs.TAKES_ORDERS)
    open_tokens = _open_tokens(recording.core.by_number[1])
    recording.record(inputs.CANCEL_ORDERS, 1, b"U" + b"".join(open_tokens[:3]))
    parties = [["A", "N0000001", "TEST"], ["B", "N0000002", "TEST"]]
    recording.record(inputs.ADMIN, payload=json.dumps({"do": "bust", "match": 1, "parties": parties}).encode())
    changed = {"B": {**settings["accounts"]["B"], "mpids": ["BBBB"]}}
    listed = [{**settings["symbols"][1], "tick_e4": 50}, {**settings["symbols"][1], "name": "GONE"}]
    changes = {"accounts": changed, "symbols": listed, "dropped": ["GONE"]}
    recording.record(inputs.CHANGE, payload=json.dumps(changes).encode())
    recording.time_ns += _LONGEST_TIME_IN_FORCE_NS
    recording.record(inputs.EXPIRE)
    recording.record(inputs.DISCONNECT, 1)
    recording.record(inputs.CLOSE_DAY)
    recording.record(inputs.END_DAY)
    recording.record(inputs.START_DAY, payload=_DAYS[1])
    for account, data in messages[_READS:]:  # gives the final state open orders
        recording.record(inputs.READ, account, data)
    recording.writer.close()


def main() -> None:
    """Write the journal and its expected results into the engine's package.

    The pure variant of the engine computes the results.
    """
    selfcheck.SHIPPED.mkdir(exist_ok=True)
    write(selfcheck.SHIPPED)
    (selfcheck.SHIPPED / SEGMENT).chmod(0o644)
    found = tools.replay(selfcheck.SHIPPED, version=None)
    expected = {"messages": found["messages"], "sha256": found["sha256"]}
    selfcheck.EXPECTED.write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
