"""The market data of each turn in shared memory, for the feed: a ring that the engine writes and waits for nobody in.

A record is a turn's messages behind their first number; the log file has them too, a millisecond later, and is where a
reader goes on that the ring overtook, or that finds a number missing. Nobody needs a lock or a barrier, which CPython
does not have: a record counts only when its CRC, which covers number, time, length and messages, is that of the bytes
which the reader copied out. Arm may show a reader the stores of a turn in any order, or an old turn's bytes among them:
then the CRC is wrong and the record is not there yet, or no more. What the reader must not miss, that it is asleep,
does not hang on the order of stores either: the engine asks a second time when it has written the file, a system call
and up to a millisecond later.

The engine rings the bell, a named pipe, only for a reader that says that it sleeps: a write of one byte wakes it, no
handshake outlives a restart of either, and epoll can wait for it (a futex it cannot; an eventfd would have to be handed
over).
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
"""Number of the first message, when the engine wrote them (monotonic clock, ns), and the messages as in the log."""


class RingError(Exception):
    """The ring cannot be read; the message says why."""


class RingWriter:
    """The engine's side: `begin` a session, `write` each turn, `publish` from time to time."""

    def __init__(self, path: Path, bell: Path) -> None:
        """Make the ring anew beside the old one and rename it; raises OSError."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _FILE_BYTES)
            # Every page is there before the first order: none is waited for on an order's way.
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
        """What follows is of this session, from that number on."""
        self._session = session.encode("ascii")
        self._next = next_sequence
        self._epoch += 1
        self.publish()

    def write(self, data: bytes, count: int) -> None:
        """Show `count` messages; the journal has to have them."""
        first = self._next
        self._next = first + count
        size = len(data)
        if size > LARGEST - _CHECKED.size:
            return  # the reader sees a number missing, and takes the file
        record = _pack(first, _monotonic_ns(), self._epoch, size) + data
        position = self._position
        start = _DATA_AT + (position & _MASK)
        self._map[start + _CHECK_BYTES : start + _CHECK_BYTES + _RECORD_BYTES + size] = record
        self._checks[start >> 3] = _crc32(record)
        self._position = position + ((_CHECK_BYTES + _RECORD_BYTES + size + 7) & -8)
        if self._map[_ASLEEP_AT]:
            self._ring()

    def publish(self) -> None:
        """Say where the next record will be, for who joins; wake who slept in without having been seen."""
        head = _HEAD.pack(self._position, self._next, self._epoch, self._session)
        self._map[_HEAD_AT : _HEAD_AT + _HEAD.size + _CHECK.size] = head + _CHECK.pack(_crc32(head))
        if self._map[_ASLEEP_AT]:
            self._ring()

    def take_times(self, into: Histogram) -> None:
        """Copy what the feed measured. Counters that only grow: a copy of a moment is never wrong by more than it."""
        _take_times(self._map, into)

    def close(self) -> None:
        """Leave the ring behind; a reader sees that nothing more comes."""
        self.publish()
        self._map[_LEFT_AT] = 1
        self._checks.release()
        self._map.close()
        os.close(self._bell)

    def _ring(self) -> None:
        # In this order: a reader that wakes and lies down again is not to be taken for awake.
        self._map[_ASLEEP_AT] = 0
        try:
            os.write(self._bell, b"\1")
        except OSError:
            return  # full: somebody is about to wake anyway


class RingReader:
    """The feed's side. It begins where the writer is; `read` gives what came since."""

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
        """Whether the engine has made another ring, or will."""
        try:
            status = os.stat(self._path)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._identity or self._map[_LEFT_AT] != 0

    def join(self) -> None:
        """Go on where the writer last said that it was."""
        head = self._head()
        if head is not None:
            self._position, following, self._epoch, self.session = head
            self._after = following - 1

    def overtaken(self) -> bool:
        """Whether the writer is further although nothing can be read here; ask after a `read` that gave nothing."""
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
            # What is judged is the copy, not what was looked at before it was made.
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
        """Ask for the bell; `read` once more before sleeping."""
        self._map[_ASLEEP_AT] = 1

    def get_up(self) -> None:
        """Ask for no bell, and take what it rang."""
        self._map[_ASLEEP_AT] = 0
        try:
            os.read(self.bell, 4096)
        except BlockingIOError:
            return

    def publish_times(self) -> None:
        """Show the engine what `times` has."""
        times = _TIMES.pack(self.times.total_ns, self.times.maximum_ns) + self.times.counts.tobytes()
        self._map[_TIMES_AT : _TIMES_AT + _TIMES_BYTES] = times

    def close(self) -> None:
        self._map[_ASLEEP_AT] = 0
        self._map.close()
        os.close(self.bell)

    def _head(self) -> tuple[int, int, int, str] | None:
        """Position and number of the next record when the writer last said so, epoch and session; None if torn."""
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
    # For both directions: so it is open whether or not the other side is, and its death is nothing to be woken by.
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
