"""The input journal: the inputs of the deterministic machine in order, written before any answer leaves.

A segment is a preallocated file: a header, records, zeros. A sealed segment is cut to its length. A record is one read
of one session (or one other input), with the engine's time and a CRC32 over everything that follows the CRC.
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
    """The journal cannot be read or written; the message names file and offset."""


class OtherVersionError(JournalError):
    """The segment is from another version, which this one does not replay."""


class Writer:
    """The writer of records.

    After the first failed or short write it is useless: only a restart with recovery continues.
    """

    def __init__(self, directory: Path, segment_bytes: int, version: str, segment: int, records: int) -> None:
        """Begin segment number `segment` after `records` earlier records. Raises OSError."""
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
        """Write one record to the kernel. Raises OSError, after which nothing may be sent to anybody."""
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
        """Return whether the next segment should be prepared now (in a thread, because it may take long)."""
        return self._offset * 2 > self._segment_bytes and not self._spare.exists()

    def prepare_spare(self) -> None:
        """Preallocate the next segment. Raises OSError: ENOSPC should come here and not in the middle of a record."""
        fresh = self._spare.with_name("spare.part")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(descriptor, 0, self._segment_bytes)
        finally:
            os.close(descriptor)
        os.rename(fresh, self._spare)

    def sync(self) -> None:
        """Put everything written so far on the disk, the segments' names included; raises OSError.

        One thread may call this while another calls `append`: descriptors of sealed segments are closed here and
        nowhere else.
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
        """Seal the segment: cut it to its length and put it on the disk."""
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
    """Put the directory's entries on the disk: otherwise a new or renamed file may be lost. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:012d}.journal"


def segments(directory: Path) -> list[Path]:
    """Return the segments that exist, oldest first."""
    return sorted(directory.glob("*.journal"))


def used_bytes(directory: Path) -> int:
    """Return the size of all segments and snapshots, the spare segment included. Raises OSError."""
    used = 0
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):  # renamed or deleted since it was listed
            status = path.stat()
            used += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return used


def read_segment(
    path: Path, last: bool, version: str | None = None, on_torn: Callable[[Path, int, int], None] | None = None
) -> Iterator[Record]:
    """Yield the records of a segment.

    A record that was being written when the machine or the process died can only be the last one of the `last` segment:
    it is left out and `on_torn(path, offset, bytes)` is called. Anything else that is wrong raises JournalError, as
    does a segment of another engine `version` when one is given.
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
    """Cut a segment at its last good record."""
    with open(path, "r+b") as file:
        file.truncate(offset)
        os.fsync(file.fileno())


def drop_unbegun(directory: Path) -> str:
    """Delete the last segment if its header never reached the disk, and return its name; "" when there is none.

    It holds no record. If another segment followed it, it would count as damage. Raises OSError.
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
    """Write the segment's bytes once more, unchanged, and sync them; raises OSError.

    A read may come from the page cache only. After a failed sync the kernel treats pages as written that the disk has
    not got, and no later sync writes them.
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
    """Return the offset after the last good record of the last segment; raises JournalError."""
    return HEADER.size + sum(RECORD.size + len(record.payload) for record in read_segment(path, last=True))


def _record_at(data: bytes, at: int, size: int, number: int) -> Record | None:
    """Return the record with that number at the offset `at`, or None."""
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
    """Return whether a good record of a later number begins somewhere between `start` and `end`."""
    for later in range(number + 1, number + 4):
        mark = later.to_bytes(8, "little")
        at = data.find(mark, start, end)
        while at >= 0:
            if at - 8 >= start and _record_at(data, at - 8, len(data), later) is not None:
                return True
            at = data.find(mark, at + 1, end)
    return False
