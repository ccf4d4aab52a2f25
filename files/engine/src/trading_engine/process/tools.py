"""Tools for operators that read a journal's directory.

While one of them runs, no engine may write to that directory. Only `snapshot_at_idle` is made for a running engine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trading_engine.machine.core import Core
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.storage import journal, snapshot
from trading_engine.storage.recovery import NOTHING, Tail, apply_journaled, make_snapshot, newest_snapshot
from trading_engine.storage.snapshot import SnapshotError, SnapshotHead
from trading_engine.wire import itch, ouch

OOM_SCORE = 500
"""The out-of-memory score of the process that makes a snapshot. Otherwise it would have the engine's score of -900."""


def verify(directory: Path) -> Iterator[str]:
    """Check all snapshots and segments, and yield a line of text about each.

    Raises JournalError or SnapshotError at the first damaged file.
    """
    for path in snapshot.files(directory):
        head = snapshot.read(path, None)
        yield f"{path.name}: state after record {head.records}, by version {head.version}"
    files = journal.segments(directory)
    if not files:
        yield f"{directory}: no segment"
        return
    first = next(journal.read_segment(files[0], last=len(files) == 1), None)
    tail = Tail(directory, SnapshotHead("", int(files[0].stem), first.number - 1 if first else 0, 0), None)
    segment, since = tail.segment, tail.records
    for record in tail:
        if tail.segment != segment:
            yield f"{segment:012d}.journal: records {since + 1} to {record.number - 1}"
            segment, since = tail.segment, record.number - 1
    yield f"{segment:012d}.journal: records {since + 1} to {tail.records}"
    if tail.torn is not None:
        path, offset, size = tail.torn
        yield f"{path.name}: {size} bytes of an unfinished record at offset {offset}; the next start cuts them"


def check_journal(directory: Path) -> int:
    """Check whether an engine of this version could continue from the journal. Return its last record's number.

    Raises JournalError or SnapshotError if the engine could not continue. The records are read but not replayed, so
    this is faster than a start. No file is changed.
    """
    tail = Tail(directory, newest_snapshot(directory, Core(), []), MACHINE_VERSION)
    for _ in tail:
        pass
    return tail.records


def replay(directory: Path, version: str | None = MACHINE_VERSION) -> dict[str, Any]:
    """Replay the journal from the oldest possible state on, and return figures about the replay.

    These are counts of records and messages, the speed, and digests (SHA-256). There is a digest of each account's
    replies, of the market data and of the final state. If `version` is None, any version of the core may have written
    the journal. Raises JournalError or SnapshotError when the journal or a snapshot cannot be used.
    """
    core = Core()
    head = oldest_state(directory, core)
    replies: dict[str, Any] = {account.name: hashlib.sha256() for account in core.by_number}
    feed = hashlib.sha256()
    records = messages = 0
    begun_ns = time.process_time_ns()
    for record in Tail(directory, head, version):
        apply_journaled(core, record)
        records += 1
        for account in core.touched:
            replies.setdefault(account.name, hashlib.sha256()).update(b"".join(account.out))
        feed.update(b"".join(core.feed))
        core.discard_outputs()
    messages = core.messages
    seconds = (time.process_time_ns() - begun_ns) / 1e9
    return {
        "from_record": head.records + 1,
        "records": records,
        "messages": messages,
        "messages_per_cpu_s": round(messages / seconds) if seconds else 0,
        "open_orders": core.open_orders,
        "sha256": {
            "replies": {name: digest.hexdigest() for name, digest in sorted(replies.items())},
            "feed": feed.hexdigest(),
            "state": snapshot.digest(core),
        },
    }


def oldest_state(directory: Path, core: Core) -> SnapshotHead:
    """Load into `core` the oldest snapshot after which all segments exist, and return its head.

    The head is its position in the journal. If the journal's very first segment exists, load nothing and return
    NOTHING. Raises SnapshotError if there is no such snapshot.
    """
    files = journal.segments(directory)
    oldest = int(files[0].stem) if files else 1
    if oldest == 1:
        return NOTHING
    for path in snapshot.files(directory):
        if int(path.stem) >= oldest:
            return snapshot.read(path, core)
    raise SnapshotError(f"{directory}: begins with segment {oldest} and has no snapshot of the state before it")


def snapshot_at_idle(directory: Path) -> Path | None:
    """Write a snapshot as `make_snapshot` does, with the lowest CPU priority, and raise the same errors.

    If the host's memory runs out, the kernel kills this process first.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    with contextlib.suppress(OSError):  # the system-call filter of a container may forbid it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    return make_snapshot(directory, MACHINE_VERSION)


def parties_of(directory: Path, match: int) -> list[list[str]]:
    """Return [account, token, symbol] for each of the two orders in the trade with this match number.

    They are found in the logs of replies of each account's newest session. Raises OSError when a log cannot be read.
    """
    found = []
    for account in sorted((directory / "replies").iterdir()):
        symbols: dict[str, str] = {}
        sessions = sorted({path.name.partition("-")[0] for path in account.glob("*.replies")})
        for path in sorted(account.glob(f"{sessions[-1]}-*.replies") if sessions else []):
            for packet in itch.split_log(path.read_bytes()):
                message = ouch.OUTBOUND.decode(packet[1:])
                if isinstance(message, ouch.Accepted | ouch.Replaced):
                    symbols[message.token] = message.stock
                elif isinstance(message, ouch.Executed) and message.match == match:
                    found.append([account.name, message.token, symbols.get(message.token, "")])
    return found
