"""A ring buffer in shared memory by which the engine sends its market data to the process `trading-feed`.

In each turn of its event loop the engine writes one record: the number of the turn's first message, and all messages.
The engine never waits for the reader. It writes the same messages to the log file about a millisecond later. If records
were overwritten before the reader had read them, or if a number is missing, the reader continues in the file.

There is no lock and no memory barrier, because CPython offers no barriers. Instead each record has a CRC over its
number, time, length and messages. The reader copies a record and uses it only if the CRC matches the copy. On Arm the
reader may see the engine's writes in any order, or mixed with the bytes of an old record. Then the CRC does not match:
the record is not complete yet, or it has been overwritten.

While there are no messages the reader sleeps. Before that it sets a flag in the shared memory. The engine then wakes it
by writing one byte to a named pipe, the "bell". The engine checks the flag after each record. It might not see a flag
that was set at just that time. So it checks the flag again in `publish`, after it has written the log file, up to a
millisecond later.

A named pipe is used because epoll can wait for it, and because either process can restart without an agreement with the
other. epoll cannot wait for a futex. An eventfd would have to be passed from one process to the other.
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
LARGEST: Final = 1 << 17  # larger records are only in the file; a record that begins within SIZE may end beyond it
_PAGE: Final = 4096
_MASK: Final = SIZE - 1
_FILE_HEAD: Final = struct.Struct("<8sIIII")  # magic, layout, SIZE, LARGEST, the engine's process
_HEAD_AT: Final = 64
_HEAD: Final = struct.Struct("<QQI10s")  # position of the next record, number of its first message, epoch, session
_CHECK: Final = struct.Struct("<I")
_LEFT_AT: Final = 256
_ASLEEP_AT: Final = 512  # in a cache line of its own, because the reader writes it
_TIMES_AT: Final = _PAGE
_TIMES: Final = struct.Struct("<QQ")
_TIMES_BYTES: Final = _TIMES.size + 8 * BUCKETS
_DATA_AT: Final = _TIMES_AT + (_TIMES_BYTES + _PAGE - 1) // _PAGE * _PAGE
_FILE_BYTES: Final = _DATA_AT + SIZE + LARGEST
_RECORD: Final = struct.Struct("<QQII")  # number of the first message, monotonic time, epoch, bytes of messages
_CHECKED: Final = struct.Struct("<QQQII")  # the CRC, then the same fields
_CHECK_BYTES: Final = 8
_pack: Final = _RECORD.pack
_crc32: Final = zlib.crc32
_monotonic_ns: Final = time.monotonic_ns
_RECORD_BYTES: Final = _RECORD.size

Piece = tuple[int, int, bytes]
"""A record: the number of its first message, the monotonic time in ns at which the engine wrote the record, and the
messages in the format of the log file.
"""


class RingError(Exception):
    """The ring cannot be read. The message says why."""


class RingWriter:
    """The writer of the ring, in the engine.

    Call `begin` for each session, `write` in each turn of the event loop, and `publish` after each write of the log
    file.
    """

    def __init__(self, path: Path, bell: Path) -> None:
        """Create a new ring, which replaces the old file, and open the bell, a named pipe. Raises OSError."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _FILE_BYTES)
            # MAP_POPULATE allocates all pages now, so that no order has to wait for a page fault.
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
        """Begin a session in the ring. Its next message has the number `next_sequence`."""
        self._session = session.encode("ascii")
        self._next = next_sequence
        self._epoch += 1
        self.publish()

    def write(self, data: bytes, count: int) -> None:
        """Write a record with `count` messages, which are in `data` in the format of the log file.

        The orders that caused the messages must already be in the journal.
        """
        first = self._next
        self._next = first + count
        size = len(data)
        if size > LARGEST - _CHECKED.size:
            return  # the reader notices the missing numbers at the next record, and reads the file
        record = _pack(first, _monotonic_ns(), self._epoch, size) + data
        position = self._position
        start = _DATA_AT + (position & _MASK)
        self._map[start + _CHECK_BYTES : start + _CHECK_BYTES + _RECORD_BYTES + size] = record
        self._checks[start >> 3] = _crc32(record)
        self._position = position + ((_CHECK_BYTES + _RECORD_BYTES + size + 7) & -8)
        if self._map[_ASLEEP_AT]:
            self._ring()

    def publish(self) -> None:
        """Publish the position of the next record, at which new readers begin. Wake the reader if it sleeps."""
        head = _HEAD.pack(self._position, self._next, self._epoch, self._session)
        self._map[_HEAD_AT : _HEAD_AT + _HEAD.size + _CHECK.size] = head + _CHECK.pack(_crc32(head))
        if self._map[_ASLEEP_AT]:
            self._ring()

    def take_times(self, into: Histogram) -> None:
        """Copy the delays that the feed has measured into the histogram `into`.

        The feed may write at the same time. Its counters only grow. So the copy can only lack what the feed has just
        added.
        """
        _take_times(self._map, into)

    def close(self) -> None:
        """Close the ring. Its file stays, with a mark that tells readers that no more records will come."""
        self.publish()
        self._map[_LEFT_AT] = 1
        self._checks.release()
        self._map.close()
        os.close(self._bell)

    def _ring(self) -> None:
        # The flag is cleared before the bell. Otherwise the reader might wake, sleep again, and lose its new flag.
        self._map[_ASLEEP_AT] = 0
        try:
            os.write(self._bell, b"\1")
        except OSError:
            return  # the pipe is full of bytes that have not been read, and these wake the reader as well


class RingReader:
    """The reader of the ring, in the feed.

    It begins at the position that the writer has published. `read` returns the records after that position.
    """

    def __init__(self, path: Path, bell: Path) -> None:
        """Open the ring, and the bell, a named pipe. Raises RingError when the ring cannot be read."""
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
        # The engine's counters must not go back while it runs. So the delays that an earlier reader measured are kept.
        self.times = Histogram()
        _take_times(self._map, self.times)
        self._epoch = 0
        self._position = 0
        self._after = 0
        self.join()

    @property
    def is_left(self) -> bool:
        """Whether this ring gets no more records, because the engine has closed it or made a new one."""
        try:
            status = os.stat(self._path)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._identity or self._map[_LEFT_AT] != 0

    def join(self) -> None:
        """Continue reading at the position that the writer has last published. Earlier records are skipped."""
        head = self._head()
        if head is not None:
            self._position, following, self._epoch, self.session = head
            self._after = following - 1

    def overtaken(self) -> bool:
        """Return whether the writer has overwritten the next record. Call this after a `read` that returned nothing.

        That is so if the writer's published position is further on, although `read` found no record here.
        """
        head = self._head()
        return head is not None and head[0] > self._position

    def read(self, limit: int = 256) -> list[Piece]:
        """Return the next records, at most `limit`. Afterwards `session` has the name of their session."""
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
            # Only the copy was checked by the CRC. The fields that were read before it may be those of another record.
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
        """Ask the writer to wake this reader, by a byte in the named pipe, when there are new records.

        Call `read` once more after this, before sleeping: a record may have come just before.
        """
        self._map[_ASLEEP_AT] = 1

    def get_up(self) -> None:
        """Tell the writer that the reader is awake, and discard the bytes that are in the named pipe."""
        self._map[_ASLEEP_AT] = 0
        try:
            os.read(self.bell, 4096)
        except BlockingIOError:
            return

    def publish_times(self) -> None:
        """Publish the feed's delays, the histogram `times`. The engine copies them into its own state."""
        times = _TIMES.pack(self.times.total_ns, self.times.maximum_ns) + self.times.counts.tobytes()
        self._map[_TIMES_AT : _TIMES_AT + _TIMES_BYTES] = times

    def close(self) -> None:
        self._map[_ASLEEP_AT] = 0
        self._map.close()
        os.close(self.bell)

    def _head(self) -> tuple[int, int, int, str] | None:
        """Return what the writer has last published: position, number of the next message, epoch and session.

        Returns None if the writer was writing at each of several attempts.
        """
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
    # Opened for reading and writing, open() does not wait for the other process, and the end of that process is no
    # end of file here.
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
