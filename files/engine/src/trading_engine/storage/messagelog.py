"""A log of numbered messages: the replies to an account, or the market data.

The log is a copy of outputs that a replay of the journal would produce again. So it may be written later than the
outputs are sent. When the engine starts, it removes messages that the journal does not imply. The replay of the journal
adds those that are missing.

A file is named by the session and the number of the file's first message. Before each message stands its length, a u16.
This is the format of ITCH's files, and also that of SoupBinTCP's packets.
"""

from __future__ import annotations

import os
from pathlib import Path

_NAME_DIGITS = 20


class MessageLog:
    """A log with the messages `first` to `last`. If its files exceed the budget, the oldest files are deleted."""

    def __init__(self, directory: Path, suffix: str, segment_bytes: int, budget_bytes: int) -> None:
        self._directory = directory
        self._suffix = suffix
        self._segment_bytes = segment_bytes
        self._budget_bytes = budget_bytes
        self._session = ""
        self._file: Path | None = None
        self._descriptor = -1
        self._file_bytes = 0
        self._pending: list[bytes] = []
        self.pending_bytes = 0
        self._pending_count = 0
        self._replayed_until = 0
        self.first = 1
        self.last = 0

    def resume(self, session: str, last: int) -> None:
        """Continue the log of `session` after the message with the number `last`, with the files that exist.

        If the files already have messages after `last`, calls of `append` with these messages only count them. If the
        files lack messages up to `last`, the files are deleted. Raises OSError when a file cannot be read or deleted.
        """
        self._leave()
        self._session = session
        self.last = last
        self._replayed_until = 0
        files = self.files()
        if not files:
            self.first = last + 1
            return
        self.first = _first_of(files[0])
        self._file = files[-1]
        data = self._file.read_bytes()
        count, end = _count(data)
        existing = _first_of(self._file) + count - 1
        if end < len(data):
            os.truncate(self._file, end)
        self._file_bytes = end
        if existing < last:
            for path in files:
                path.unlink()
            self._file = None
            self.first = last + 1
        else:
            self._replayed_until = existing

    def finish_replay(self) -> None:
        """Remove the messages in the files after the last message of the replay.

        Raises OSError when a file cannot be changed.
        """
        if self._replayed_until > self.last:
            for path in reversed(self.files()):
                if _first_of(path) <= self.last:
                    data = path.read_bytes()
                    _, end = _skip(data, self.last - _first_of(path) + 1)
                    os.truncate(path, end)
                    self._file = path
                    self._file_bytes = end
                    break
                path.unlink()
                self._file = None
        self._replayed_until = 0

    def append(self, data: bytes, count: int) -> None:
        """Add `count` messages to the log. The next call of `flush` writes them to the file."""
        before = self.last
        self.last = before + count
        if self._replayed_until:
            if self.last <= self._replayed_until:
                return
            _, start = _skip(data, self._replayed_until - before)
            data = data[start:]
            count = self.last - self._replayed_until
            self._replayed_until = 0
        self._pending.append(data)
        self._pending_count += count
        self.pending_bytes += len(data)

    def flush(self) -> None:
        """Write the added messages to the file. Raises OSError."""
        if not self._pending:
            return
        pending = self._pending
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        pending.clear()
        self.pending_bytes = 0
        if self._file is None or self._file_bytes >= self._segment_bytes:
            self._next_file(self.last + 1 - self._pending_count)
        self._pending_count = 0
        if self._descriptor < 0:
            assert self._file is not None
            self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        written = os.write(self._descriptor, data)
        if written != len(data):
            raise OSError(f"{self._file}: short write, {written} of {len(data)} bytes")
        self._file_bytes += written

    def release(self) -> None:
        """Close the file until the next `flush`, because there may be more logs than file descriptors."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read_from(self, number: int, limit_bytes: int) -> tuple[bytes, int]:
        """Return messages from the number `number` on, and how many they are.

        Together they have about `limit_bytes` bytes. Raises OSError when a file cannot be read.
        """
        self.flush()
        chosen = None
        for path in reversed(self.files()):
            chosen = path
            if _first_of(path) <= number:
                break
        if chosen is None or number > self.last:
            return b"", 0
        data = chosen.read_bytes()
        _, start = _skip(data, number - _first_of(chosen))
        count, size = _count(data, start, limit_bytes)
        return data[start : start + size], count

    def files(self) -> list[Path]:
        """Return the paths of the session's files, oldest first."""
        return sorted(self._directory.glob(f"{self._session}-*.{self._suffix}"))

    def close(self) -> None:
        self.flush()
        self.release()

    def _leave(self) -> None:
        self.flush()
        self.release()
        self._file = None
        self._file_bytes = 0

    def _next_file(self, first: int) -> None:
        self.release()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._file = self._directory / f"{self._session}-{first:0{_NAME_DIGITS}d}.{self._suffix}"
        self._file_bytes = 0
        files = sorted(self._directory.glob(f"*.{self._suffix}"), key=lambda path: path.name)
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total <= self._budget_bytes - self._segment_bytes:
                break
            total -= path.stat().st_size
            path.unlink()
        mine = self.files()
        self.first = _first_of(mine[0]) if mine else first


def _first_of(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _skip(data: bytes, messages: int) -> tuple[int, int]:
    """Skip up to `messages` messages at the start of `data`.

    Return how many messages were skipped, and the offset after them.
    """
    at, seen, size = 0, 0, len(data)
    while seen < messages and size - at >= 2:
        at += 2 + ((data[at] << 8) | data[at + 1])
        seen += 1
    return seen, min(at, size)


def _count(data: bytes, start: int = 0, limit_bytes: int = 1 << 62) -> tuple[int, int]:
    """Return the number of complete messages from the offset `start` on, and their size in bytes.

    The count ends with the message by which the size reaches `limit_bytes`.
    """
    at, count, size = start, 0, len(data)
    while size - at >= 2 and at - start < limit_bytes:
        length = (data[at] << 8) | data[at + 1]
        if length == 0 or at + 2 + length > size:
            break
        at += 2 + length
        count += 1
    return count, at - start
