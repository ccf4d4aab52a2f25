"""The journal: all inputs of the matching core in order. Each is written before the engine sends the answers to it.

The journal consists of segments, which are files. A segment is created in its full size, filled with zeros. It has a
header and then records. When it is full it is sealed: truncated to the end of its records, and never written again. A
record is one input, such as one read of a client session. It has the engine time and a CRC32 over all bytes after the
CRC.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from trading_engine.machine.inputs import CONFIGURE, Record

MAGIC: Final = b"LLTJRNL1"
HEADER: Final = struct.Struct("<8sQQ32s8x")
RECORD: Final = struct.Struct("<IIQQIB")
_pack_checked: Final = struct.Struct("<IQQIB").pack  # what follows a record's CRC
MAX_PAYLOAD_BYTES: Final = 16 << 20
_READ_PAYLOAD_BYTES: Final = 8192
_REWRITE_BYTES: Final = 1 << 20


class JournalError(Exception):
    """The journal cannot be read or written. The message names the file and the offset."""


class OtherVersionError(JournalError):
    """The segment was written by another version of the core, so this version may not replay it."""


class Writer:
    """The writer of the journal.

    After a write that failed or was incomplete, the writer must not be used any more. The journal continues only after
    a restart of the engine, which recovers the state.
    """

    def __init__(self, directory: Path, segment_bytes: int, version: str, segment: int, records: int) -> None:
        """Create the journal's segment with the number `segment`. `records` is the number of records before it.

        Raises OSError when the file cannot be created.
        """
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._version = version.encode()
        self.segment = segment
        self.records = records
        self.bytes_written = 0
        self.sealed = 0
        self.failed = False
        self._spare = directory / "spare"
        self._descriptor = -1
        self._retired: list[int] = []
        self._offset = 0
        self._named = 0
        self._named_on_disk = 0
        self.prepare_spare()
        self._begin()

    @property
    def path(self) -> Path:
        return segment_path(self._directory, self.segment)

    def append(self, kind: int, account: int, time_ns: int, payload: bytes) -> None:
        """Write a record to the kernel. Raises OSError when that fails; then no answer may be sent any more."""
        size = RECORD.size + len(payload)
        if self._offset + size > self._segment_bytes and self._offset > HEADER.size:
            self._rotate()
        self.records += 1
        body = _pack_checked(len(payload), self.records, time_ns, account, kind) + payload
        written = os.write(self._descriptor, zlib.crc32(body).to_bytes(4, "little") + body)
        if written != size:
            self.failed = True
            raise OSError(f"short write: {written} of {size} bytes")
        self._offset += size
        self.bytes_written += size

    def wants_spare(self) -> bool:
        """Return whether to call `prepare_spare` now, which creates the file of the next segment.

        That is so when half of the segment is used, and the file of the next segment does not exist yet.
        """
        return self._offset * 2 > self._segment_bytes and not self._spare.exists()

    def prepare_spare(self) -> None:
        """Create the file of the next segment in its full size. This may take long, so call it in a thread.

        Raises OSError. So a full disk is noticed here, and not in the middle of a record.
        """
        fresh = self._spare.with_name("spare.part")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(descriptor, 0, self._segment_bytes)
        finally:
            os.close(descriptor)
        os.rename(fresh, self._spare)

    def sync(self) -> None:
        """Make sure that everything written so far is on the disk, including the names of segments. Raises OSError.

        One thread may call this while another calls `append`. So the descriptors of sealed segments are closed only
        here.
        """
        named = self._named
        current = self._descriptor
        retired, self._retired = self._retired, []
        for descriptor in retired:
            os.fdatasync(descriptor)
            os.close(descriptor)
        if current >= 0 and current not in retired:
            os.fdatasync(current)
        if named != self._named_on_disk:
            sync_directory(self._directory)
            self._named_on_disk = named

    def close(self) -> None:
        """Seal the last segment: truncate it to the end of its records, and make sure that it is on the disk.

        Raises OSError when that fails.
        """
        if self._descriptor >= 0:
            self._seal()
            self.sync()
            self._spare.unlink(missing_ok=True)

    def _begin(self) -> None:
        if not self._spare.exists():
            self.prepare_spare()
        descriptor = os.open(self._spare, os.O_RDWR | os.O_CLOEXEC)
        header = HEADER.pack(MAGIC, self.segment, self.records + 1, self._version)
        if os.write(descriptor, header) != HEADER.size:
            raise OSError("short write of a segment's header")
        os.rename(self._spare, self.path)
        self._named += 1
        self._descriptor = descriptor
        self._offset = HEADER.size

    def _rotate(self) -> None:
        self._seal()
        self.segment += 1
        self._begin()

    def _seal(self) -> None:
        os.ftruncate(self._descriptor, self._offset)
        self._retired.append(self._descriptor)
        self._descriptor = -1
        self.sealed += 1


def sync_directory(directory: Path) -> None:
    """Make sure that the directory's entries are on the disk. Otherwise a crash may lose a new or renamed file.

    Raises OSError when that fails.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:012d}.journal"


def segments(directory: Path) -> list[Path]:
    """Return the paths of all segments of the journal, oldest first."""
    return sorted(directory.glob("*.journal"))


def used_bytes(directory: Path) -> int:
    """Return the size in bytes of all files in the journal's directory: segments, snapshots and the next segment.

    Raises OSError when the directory cannot be read.
    """
    used = 0
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):  # the file was renamed or deleted after the directory was listed
            status = path.stat()
            used += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return used


def read_segment(
    path: Path, last: bool, version: str | None = None, on_torn: Callable[[Path, int, int], None] | None = None
) -> Iterator[Record]:
    """Yield the records of a segment of the journal. `last` says whether it is the journal's last segment.

    If the process or the machine failed during a write, the last record of the last segment may be incomplete (torn).
    Such a record is left out, and `on_torn` is called with the path, the record's offset and the number of its bytes.
    Any other damage raises JournalError. If `version` is given, a segment of another version raises OtherVersionError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}") from error
    if not data[: HEADER.size].strip(b"\0") and last:
        return
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise JournalError(f"{path}, offset 0: not a journal segment")
    _, _, number, raw_version = HEADER.unpack_from(data)
    written_by = raw_version.rstrip(b"\0").decode("ascii", "replace")
    if version is not None and written_by != version:
        raise OtherVersionError(
            f"{path} was written by engine version {written_by}, this is {version}: replay would not give the same "
            f"answers. Run version {written_by} once (the release before; `trading-engine --version` tells), stop it "
            "cleanly (it leaves a snapshot), then start this one"
        )
    at, size = HEADER.size, len(data)
    while True:
        record = _record_at(data, at, size, number)
        if record is None:
            break
        yield record
        number += 1
        at += RECORD.size + len(record.payload)
    rest = data[at:].rstrip(b"\0")
    if not rest:
        return
    torn = (
        last
        and len(rest) <= RECORD.size + max(_READ_PAYLOAD_BYTES, _claimed_bytes(rest))
        and not _holds_record(data, at + 1, at + len(rest), number)
    )
    if not torn:
        raise JournalError(
            f"{path}, offset {at}: damaged record, with {len(rest)} bytes after it. Restore the file from a backup, or "
            "move it and all later segments away, which loses what they hold"
        )
    if on_torn is not None:
        on_torn(path, at, len(rest))


def cut_torn(path: Path, offset: int) -> None:
    """Truncate a segment to `offset`, the end of its last good record, and make sure that the change is on the disk."""
    with open(path, "r+b") as file:
        file.truncate(offset)
        os.fsync(file.fileno())


def drop_unbegun(directory: Path) -> str:
    """Delete the last segment if its header was never written to the disk. Return its name, or "" if it was kept.

    Such a segment holds no record. If another segment followed, it would count as damage. Raises OSError when the file
    cannot be read or deleted.
    """
    for path in segments(directory)[-1:]:
        with open(path, "rb") as file:
            header = file.read(HEADER.size)
        if not header.strip(b"\0"):
            path.unlink()
            sync_directory(directory)
            return path.name
    return ""


def put_on_disk(path: Path) -> None:
    """Make sure that a segment is on the disk: read its bytes, write the same bytes again, and sync them.

    Without this, the bytes may be in the page cache but not on the disk. After a failed sync, the kernel treats the
    pages as written, and no later sync writes them. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        at = 0
        while data := os.pread(descriptor, _REWRITE_BYTES, at):
            written = os.pwrite(descriptor, data, at)
            if written != len(data):
                raise OSError(f"{path}: short write, {written} of {len(data)} bytes")
            at += written
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def end_of(path: Path) -> int:
    """Return the offset after the last undamaged record of the journal's last segment.

    Raises JournalError when the journal is damaged.
    """
    return HEADER.size + sum(RECORD.size + len(record.payload) for record in read_segment(path, last=True))


def _record_at(data: bytes, at: int, size: int, number: int) -> Record | None:
    """Return the record at the offset `at`, or None unless it is complete, undamaged and has this number."""
    if size - at < RECORD.size:
        return None
    check, length, found, time_ns, account, kind = RECORD.unpack_from(data, at)
    end = at + RECORD.size + length
    if found != number or length > MAX_PAYLOAD_BYTES or end > size:
        return None
    if zlib.crc32(memoryview(data)[at + 4 : end]) != check:
        return None
    return Record(kind, number, time_ns, account, data[at + RECORD.size : end])


def _claimed_bytes(rest: bytes) -> int:
    length = int.from_bytes(rest[4:8], "little") if len(rest) >= RECORD.size else 0
    return min(length, MAX_PAYLOAD_BYTES) if rest[28:29] == bytes((CONFIGURE,)) else 0


def _holds_record(data: bytes, start: int, end: int, number: int) -> bool:
    """Return whether an undamaged record with one of the next numbers begins anywhere between `start` and `end`."""
    for later in range(number + 1, number + 4):
        mark = later.to_bytes(8, "little")
        at = data.find(mark, start, end)
        while at >= 0:
            if at - 8 >= start and _record_at(data, at - 8, len(data), later) is not None:
                return True
            at = data.find(mark, at + 1, end)
    return False
