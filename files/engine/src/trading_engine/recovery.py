"""From the journal back to the state it implies."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from trading_engine import journal
from trading_engine.core import Core
from trading_engine.journal import JournalError, Record
from trading_engine.outbox import Outbox


@dataclass(slots=True)
class Recovered:
    """What a recovery found; `segment` and `records` are where the journal goes on."""

    segment: int = 1
    records: int = 0
    last_time_ns: int = 0
    duration_ns: int = 0
    torn: str = ""
    connected: set[int] = field(default_factory=set)


def apply_record(core: Core, record: Record) -> None:
    """Give one recorded input to the core; raises JournalError for a record that this version does not know."""
    kind, number, time_ns, account, payload = record
    if kind == journal.READ:
        if core.apply(account, payload, time_ns) != len(payload):
            raise JournalError(f"record {number}: a read that was processed whole is not now ({core.close_reason})")
    elif kind == journal.CONNECT:
        core.connect(account)
    elif kind == journal.DISCONNECT:
        core.disconnect(account, time_ns)
    elif kind == journal.CONFIGURE:
        core.configure(json.loads(payload), time_ns)
    elif kind == journal.START_DAY:
        core.start_day(payload.decode("ascii"), time_ns)
    elif kind == journal.END_DAY:
        core.end_day(time_ns)
    elif kind == journal.EXPIRE:
        core.expire(time_ns)
    elif kind == journal.ACCEPTING:
        core.accepting = payload == b"\x01"
    else:
        raise JournalError(f"record {number}: unknown kind {kind}")


def recover(core: Core, outbox: Outbox, directory: Path, version: str) -> Recovered:
    """Replay every segment of `directory` into the core, fill the logs up, and cut a torn tail.

    Raises JournalError for damage, OSError when files cannot be read or cut.
    """
    found = Recovered()
    begun_ns = time.monotonic_ns()
    files = journal.segments(directory)
    cut: list[tuple[Path, int]] = []

    def on_torn(path: Path, offset: int, size: int) -> None:
        found.torn = f"{path.name}: {size} bytes of an unfinished record at offset {offset} were cut"
        cut.append((path, offset))

    for path in files:
        number = int(path.stem)
        if found.records and number != found.segment:
            raise JournalError(f"{directory}: segment {found.segment} is missing before {path.name}")
        for record in journal.read_segment(path, path is files[-1], version, on_torn):
            if record.number != found.records + 1:
                raise JournalError(f"{path}: record {record.number} follows {found.records}")
            found.records = record.number
            found.last_time_ns = record.time_ns
            if record.kind == journal.CONNECT:
                found.connected.add(record.account)
            elif record.kind == journal.DISCONNECT:
                found.connected.discard(record.account)
            elif record.kind == journal.START_DAY:
                outbox.begin_day(record.payload.decode("ascii"))
            apply_record(core, record)
            outbox.commit(outbox.collect())
        found.segment = number + 1
    if files:
        outbox.finish_replay()
        if cut:
            journal.cut_torn(*cut[0])
        else:
            journal.cut_torn(files[-1], journal.end_of(files[-1]))
    found.duration_ns = time.monotonic_ns() - begun_ns
    return found
