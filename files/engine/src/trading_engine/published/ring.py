"""The market data of each turn in shared memory, for the feed: a ring in which the engine never waits for a reader.

A record holds a turn's messages behind their first number. The log file has the same messages a millisecond later. A
reader that the ring overtook, or that finds a number missing, continues there. Nobody needs a lock or a memory barrier,
which CPython does not have. A record counts only when its CRC, over number, time, length and messages, matches the
bytes that the reader copied. On Arm a reader may see the stores of a turn in any order, or bytes of an old turn among
them. Then the CRC is wrong, and the record is not there yet or no longer there. The engine must not miss that a reader
sleeps, and this does not depend on the order of stores either. The engine asks a second time after it has written the
file, which is a system call and up to a millisecond later.

The bell is a named pipe. The engine rings it only for a reader that says that it sleeps: a write of one byte wakes it.
No handshake outlives a restart of either side. epoll can wait for a pipe; it cannot wait for a futex, and an eventfd
would have to be handed over.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import time
import zlib
from array import array
from pathlib import Path
from typing import Final

from trading_engine.published.histogram import BUCKETS, Histogram

MAGIC: Final = b"LLFEED\0\0"
LAYOUT: Final = 1
SIZE: Final = 1 << 20
LARGEST: Final = 1 << 17  # more at once is left to the file; records that begin within SIZE may end beyond it
_PAGE: Final = 4096
_MASK: Final = SIZE - 1
_FILE_HEAD: Final = struct.Struct("<8sIIII")  # magic, layout, SIZE, LARGEST, the engine's process
_HEAD_AT: Final = 64
_HEAD: Final = struct.Struct("<QQI10s")  # position and number of the next record, epoch, session
_CHECK: Final = struct.Struct("<I")
_LEFT_AT: Final = 256
_ASLEEP_AT: Final = 512  # a cache line of its own: the reader writes here
_TIMES_AT: Final = _PAGE
_TIMES: Final = struct.Struct("<QQ")
_TIMES_BYTES: Final = _TIMES.size + 8 * BUCKETS
_DATA_AT: Final = _TIMES_AT + (_TIMES_BYTES + _PAGE - 1) // _PAGE * _PAGE
_FILE_BYTES: Final = _DATA_AT + SIZE + LARGEST
_RECORD: Final = struct.Struct("<QQII")  # number of the first message, monotonic time, epoch, bytes of messages
_CHECKED: Final = struct.Struct("<QQQII")  # the same behind its CRC
_CHECK_BYTES: Final = 8
_pack: Final = _RECORD.pack
_crc32: Final = zlib.crc32
_monotonic_ns: Final = time.monotonic_ns
_RECORD_BYTES: Final = _RECORD.size

Piece = tuple[int, int, bytes]
"""Number of the first message, time at which the engine wrote them (monotonic clock, ns), messages as in the log."""


class RingError(Exception):
    """The ring cannot be read; the message says why."""


class RingWriter:
    """The engine's side: `begin` a session, `write` in each turn, `publish` from time to time."""

    def __init__(self, path: Path, bell: Path) -> None:
        """Create the ring under another name and rename it over the old one; raises OSError."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _FILE_BYTES)
            # Every page exists before the first order, so no order waits for a page fault.
            self._map = mmap.mmap(descriptor, _FILE_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        finally:
            os.close(descriptor)
        self._checks = memoryview(self._map).cast("Q")
        self._map[: _FILE_HEAD.size] = _FILE_HEAD.pack(MAGIC, LAYOUT, SIZE, LARGEST, os.getpid())
        self._position = 0
        self._next = 1
        self._epoch = 0
        self._session = b""
        self._bell = _open_bell(bell)
        self.publish()
        os.rename(fresh, path)

    def begin(self, session: str, next_sequence: int) -> None:
        """Begin a session: the next message has the number `next_sequence`."""
        self._session = session.encode("ascii")
        self._next = next_sequence
        self._epoch += 1
        self.publish()

    def write(self, data: bytes, count: int) -> None:
        """Write `count` messages. The journal must already have their input."""
        first = self._next
        self._next = first + count
        size = len(data)
        if size > LARGEST - _CHECKED.size:
            return  # the reader sees that a number is missing and reads the file
        record = _pack(first, _monotonic_ns(), self._epoch, size) + data
        position = self._position
        start = _DATA_AT + (position & _MASK)
        self._map[start + _CHECK_BYTES : start + _CHECK_BYTES + _RECORD_BYTES + size] = record
        self._checks[start >> 3] = _crc32(record)
        self._position = position + ((_CHECK_BYTES + _RECORD_BYTES + size + 7) & -8)
        if self._map[_ASLEEP_AT]:
            self._ring()

    def publish(self) -> None:
        """Publish the position of the next record, for readers that join; wake a reader that fell asleep unnoticed."""
        head = _HEAD.pack(self._position, self._next, self._epoch, self._session)
        self._map[_HEAD_AT : _HEAD_AT + _HEAD.size + _CHECK.size] = head + _CHECK.pack(_crc32(head))
        if self._map[_ASLEEP_AT]:
            self._ring()

    def take_times(self, into: Histogram) -> None:
        """Copy the feed's measured times.

        The counters only grow, so a copy is wrong by at most their growth in that moment.
        """
        _take_times(self._map, into)

    def close(self) -> None:
        """Leave the ring behind, marked so that a reader sees that nothing more comes."""
        self.publish()
        self._map[_LEFT_AT] = 1
        self._checks.release()
        self._map.close()
        os.close(self._bell)

    def _ring(self) -> None:
        # The flag is cleared first, so that a reader that wakes and sleeps again keeps its new flag.
        self._map[_ASLEEP_AT] = 0
        try:
            os.write(self._bell, b"\1")
        except OSError:
            return  # the pipe is full, so the reader is about to wake anyway


class RingReader:
    """The feed's side. It begins where the writer is; `read` returns what was written since."""

    def __init__(self, path: Path, bell: Path) -> None:
        """Raises RingError."""
        self._path = path
        try:
            with path.open("r+b") as file:
                status = os.fstat(file.fileno())
                head = file.read(_FILE_HEAD.size)
                if len(head) < _FILE_HEAD.size or status.st_size != _FILE_BYTES:
                    raise RingError(f"{path} is no ring of this release")
                magic, layout, size, largest, self.engine_pid = _FILE_HEAD.unpack(head)
                if (magic, layout, size, largest) != (MAGIC, LAYOUT, SIZE, LARGEST):
                    raise RingError(f"{path} is no ring of this release")
                self._map = mmap.mmap(file.fileno(), _FILE_BYTES)
                self._identity = (status.st_dev, status.st_ino)
            self.bell = _pipe(bell)
        except OSError as error:
            raise RingError(f"{error.filename or path}: {error.strerror}") from error
        self.session = ""
        # What an earlier reader measured stays: the engine runs on, and so do its counters.
        self.times = Histogram()
        _take_times(self._map, self.times)
        self._epoch = 0
        self._position = 0
        self._after = 0
        self.join()

    @property
    def is_left(self) -> bool:
        """Whether the engine has made another ring, or has left this one."""
        try:
            status = os.stat(self._path)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._identity or self._map[_LEFT_AT] != 0

    def join(self) -> None:
        """Continue at the position that the writer last published."""
        head = self._head()
        if head is not None:
            self._position, following, self._epoch, self.session = head
            self._after = following - 1

    def overtaken(self) -> bool:
        """Return whether the writer is further on although nothing can be read here.

        Ask after a `read` that returned nothing.
        """
        head = self._head()
        return head is not None and head[0] > self._position

    def read(self, limit: int = 256) -> list[Piece]:
        """Return the next records of one session, at most `limit`."""
        found: list[Piece] = []
        while len(found) < limit:
            start = _DATA_AT + (self._position & _MASK)
            check, first, written_ns, epoch, size = _CHECKED.unpack_from(self._map, start)
            if epoch == self._epoch:
                if first <= self._after:
                    break
            elif epoch < self._epoch:
                break
            if size > LARGEST - _CHECKED.size:
                break
            record = self._map[start + _CHECK_BYTES : start + _CHECKED.size + size]
            if _crc32(record) != check:
                break
            # The copy is what the CRC covers. The fields read before the copy may have changed since.
            first, written_ns, epoch, size = _RECORD.unpack_from(record)
            if epoch != self._epoch:
                head = self._head()
                if found or head is None or head[2] != epoch:
                    break
                self._epoch, self.session = epoch, head[3]
            self._after = first
            self._position += (_CHECKED.size + size + 7) & -8
            found.append((first, written_ns, record[_RECORD_BYTES:]))
        return found

    def lie_down(self) -> None:
        """Request the bell. Call `read` once more before sleeping."""
        self._map[_ASLEEP_AT] = 1

    def get_up(self) -> None:
        """Cancel the request for the bell, and discard the bytes that the bell has sent."""
        self._map[_ASLEEP_AT] = 0
        try:
            os.read(self.bell, 4096)
        except BlockingIOError:
            return

    def publish_times(self) -> None:
        """Publish `times` for the engine."""
        times = _TIMES.pack(self.times.total_ns, self.times.maximum_ns) + self.times.counts.tobytes()
        self._map[_TIMES_AT : _TIMES_AT + _TIMES_BYTES] = times

    def close(self) -> None:
        self._map[_ASLEEP_AT] = 0
        self._map.close()
        os.close(self.bell)

    def _head(self) -> tuple[int, int, int, str] | None:
        """Return the last published position and number of the next record, epoch and session; None if torn."""
        for _ in range(5):
            head = self._map[_HEAD_AT : _HEAD_AT + _HEAD.size]
            (check,) = _CHECK.unpack_from(self._map, _HEAD_AT + _HEAD.size)
            if _crc32(head) == check:
                position, following, epoch, session = _HEAD.unpack(head)
                return position, following, epoch, session.rstrip(b"\0").decode("ascii", "replace")
        return None


def _take_times(page: mmap.mmap, into: Histogram) -> None:
    taken = page[_TIMES_AT : _TIMES_AT + _TIMES_BYTES]
    into.total_ns, into.maximum_ns = _TIMES.unpack_from(taken)
    into.counts = array("Q", taken[_TIMES.size :])


def _open_bell(path: Path) -> int:
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        if not stat.S_ISFIFO(os.stat(path).st_mode):
            path.unlink()
            os.mkfifo(path, 0o600)
    return _pipe(path)


def _pipe(path: Path) -> int:
    # Opened for both directions: it opens without the other side, and the other side's end wakes nobody.
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
