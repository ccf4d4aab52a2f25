"""The recovery of the engine's state from a snapshot and the journal after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trading_engine.machine import inputs
from trading_engine.machine.core import Core
from trading_engine.machine.inputs import InputError, Record, apply_record
from trading_engine.storage import journal, snapshot
from trading_engine.storage.journal import JournalError
from trading_engine.storage.outbox import Outbox
from trading_engine.storage.snapshot import SnapshotError, SnapshotHead

NOTHING = SnapshotHead("", 1, 0, 0)
PROGRESS_RECORDS = 4096


@dataclass(slots=True)
class Recovered:
    """The result of a recovery.

    The journal continues with the new segment that has the number `segment`. There are `records` records before it.
    """

    segment: int = 1
    records: int = 0
    replayed: int = 0
    last_time_ns: int = 0
    duration_ns: int = 0
    snapshot_sha256: str = ""
    remarks: list[str] = field(default_factory=list)


def apply_journaled(core: Core, record: Record) -> None:
    """Let the core process a record of the journal.

    Raises JournalError, with the record's number, when this version cannot process it.
    """
    try:
        apply_record(core, record)
    except InputError as error:
        raise JournalError(f"record {record.number}: {error}") from error


class Tail:
    """The records of the journal after a snapshot, in order and without a gap."""

    def __init__(self, directory: Path, head: SnapshotHead, version: str | None, sealed_only: bool = False) -> None:
        """Prepare to read the records after the snapshot `head`.

        With `sealed_only` the last segment is left out, because an engine may be writing it.
        """
        self._directory = directory
        self._version = version
        self.segment = head.segment
        self.records = head.records
        self.torn: tuple[Path, int, int] | None = None
        self.files = [path for path in journal.segments(directory) if int(path.stem) >= head.segment]
        self._last = self.files[-1] if self.files else None
        if sealed_only:
            del self.files[-1:]

    def __iter__(self) -> Iterator[Record]:
        """Yield the records. Raises JournalError for damage, a missing segment, or a segment of another version."""
        for path in self.files:
            number = int(path.stem)
            if number != self.segment:
                raise JournalError(
                    f"{self._directory}: segment {self.segment:012d}.journal is missing before {path.name}"
                )
            for record in journal.read_segment(path, path == self._last, self._version, self._on_torn):
                if record.number != self.records + 1:
                    raise JournalError(f"{path}: record {record.number} follows record {self.records}")
                self.records = record.number
                yield record
            self.segment = number + 1

    def _on_torn(self, path: Path, offset: int, size: int) -> None:
        self.torn = (path, offset, size)


def newest_snapshot(directory: Path, core: Core, remarks: list[str]) -> SnapshotHead:
    """Load the newest undamaged snapshot into `core`. Return its head, or NOTHING if there is none.

    The head is the snapshot's position in the journal. A text about each damaged snapshot is added to `remarks`.
    """
    for path in reversed(snapshot.files(directory)):
        try:
            snapshot.read(path, None)
        except SnapshotError as error:
            remarks.append(f"snapshot left out: {error}")
            continue
        return snapshot.read(path, core)
    return NOTHING


def recover(
    core: Core,
    outbox: Outbox,
    directory: Path,
    version: str,
    on_progress: Callable[[int], None] = lambda records: None,
    doubts: bool = False,
) -> Recovered:
    """Recover the state: load the newest undamaged snapshot into `core` and replay the journal after it.

    The logs in `outbox` are completed, an incomplete last record is removed, and it is made sure that the segments are
    on the disk. `on_progress` is called now and then with the number of replayed records. With `doubts`, the state that
    was loaded from the snapshot must have the same bytes as in the file. If not, SnapshotError is raised, and no file
    has been changed. Raises JournalError for a damaged journal, SnapshotError or OSError when files cannot be used.
    """
    found = Recovered()
    begun_ns = time.monotonic_ns()
    head = newest_snapshot(directory, core, found.remarks)
    found.last_time_ns = head.time_ns
    if doubts and head is not NOTHING:
        found.snapshot_sha256 = _confirmed(core, snapshot.path_of(directory, head.segment))
    if core.day:
        outbox.resume(core.day)
    if unbegun := journal.drop_unbegun(directory):
        found.remarks.append(f"{unbegun}: deleted, nothing was written to it yet")
    tail = Tail(directory, head, version)
    for record in tail:
        if found.replayed % PROGRESS_RECORDS == 0:
            on_progress(found.replayed)
        found.replayed += 1
        found.last_time_ns = record.time_ns
        if record.kind == inputs.START_DAY:
            outbox.begin_day(record.payload.decode("ascii"))
        apply_journaled(core, record)
        outbox.commit(outbox.collect())
    found.segment, found.records = tail.segment, tail.records
    if core.day:
        outbox.finish_replay()
    if tail.torn is not None:
        path, offset, size = tail.torn
        found.remarks.append(f"{path.name}: {size} bytes of an unfinished record at offset {offset} were cut")
        journal.cut_torn(path, offset)
    elif tail.files:
        journal.cut_torn(tail.files[-1], journal.end_of(tail.files[-1]))
    for path in tail.files:
        on_progress(found.replayed)
        journal.put_on_disk(path)
    if tail.files:
        journal.sync_directory(directory)
    found.duration_ns = time.monotonic_ns() - begun_ns
    return found


def _confirmed(core: Core, path: Path) -> str:
    """Return the SHA-256 of the core's state, which was loaded from a snapshot file.

    Raises SnapshotError if the state in the file has another SHA-256.
    """
    found = snapshot.digest(core)
    if found != snapshot.stored_digest(path):
        raise SnapshotError(
            f"{path}: this release makes another state of it than the release that wrote it. Nothing was changed: "
            "activate the release that wrote it again"
        )
    return found


def make_snapshot(directory: Path, version: str) -> Path | None:
    """Replay the sealed segments after the newest snapshot, write a new snapshot, and return its path.

    A sealed segment is full and never written again. Returns None if there are no such segments. Raises JournalError,
    SnapshotError or OSError when files cannot be used. This takes long, so it runs in a process of its own.
    """
    core = Core()
    head = newest_snapshot(directory, core, [])
    tail = Tail(directory, head, version, sealed_only=True)
    if not tail.files:
        return None
    time_ns = head.time_ns
    for record in tail:
        apply_journaled(core, record)
        core.discard_outputs()
        time_ns = record.time_ns
    return snapshot.write(directory, core, SnapshotHead(version, tail.segment, tail.records, time_ns))
