"""The engine's log files of market data (ITCH), read as sessions of numbered messages.

The directory holds files named `<session, 10 characters>-<number of the first message, 20 digits>.itch`. In a file the
length of each message (u16) stands before it; NASDAQ calls this format BinaryFILE. The files only grow, with one
exception. An engine that restarts may truncate the newest file. It then writes the same bytes again. So offsets that
the reader knows stay valid. Until the bytes are there again, the reader finds nothing new.
"""

import os
import re
from array import array
from bisect import bisect_right
from pathlib import Path

from trading_feed.tail import Tail, framed

STRIDE = 1024
SCAN_BYTES = 1 << 20
_NAME = re.compile(r"(.{10})-(\d{20})\.itch")


class LogFile:
    """One log file of market data.

    Its index holds the offset of every 1,024th message, and is extended when the file grows.
    """

    def __init__(self, path: Path, first_sequence: int) -> None:
        self.first_sequence = first_sequence
        self.end_bytes = 0
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._messages = 0
        self._offsets = array("Q")

    @property
    def next_sequence(self) -> int:
        """The number of the message that will follow the last indexed message."""
        return self.first_sequence + self._messages

    def extend(self) -> bool:
        """Add up to SCAN_BYTES of new messages to the index. Return whether there were any."""
        data = os.pread(self._descriptor, SCAN_BYTES, self.end_bytes)
        start, size = 0, len(data)
        while size - start >= 2:
            end = start + 2 + (data[start] << 8 | data[start + 1])
            if end > size:
                break
            if self._messages % STRIDE == 0:
                self._offsets.append(self.end_bytes + start)
            self._messages += 1
            start = end
        self.end_bytes += start
        return start > 0

    def offset_of(self, sequence: int) -> int:
        """Return the offset in bytes of the message with this number.

        The message must be in the index, or be the first one that is not in the index yet.
        """
        wanted = sequence - self.first_sequence
        if wanted == self._messages:
            return self.end_bytes
        block, steps = divmod(wanted, STRIDE)
        offset = self._offsets[block]
        data = os.pread(self._descriptor, min(steps * 256, self.end_bytes - offset), offset)
        at = 0
        for _ in range(steps):
            at += 2 + (data[at] << 8 | data[at + 1])
        return offset + at

    def packets(self, begin_bytes: int, end_bytes: int) -> tuple[bytes, int, int]:
        """Return the messages between two offsets as SoupBinTCP packets, and two numbers.

        The numbers are the count of these messages, and the offset after the last of them. A message that is not
        completely between the two offsets is left out.
        """
        data = os.pread(self._descriptor, end_bytes - begin_bytes, begin_bytes)
        packets, count, size = framed(data)
        return packets, count, begin_bytes + size

    def close(self) -> None:
        os.close(self._descriptor)


class Session:
    """A trading session: its log files, in the order of their messages. Only the last file grows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: list[LogFile] = []

    @property
    def first_sequence(self) -> int:
        return self.files[0].first_sequence

    @property
    def next_sequence(self) -> int:
        return self.files[-1].next_sequence

    def file_of(self, sequence: int) -> LogFile | None:
        """Return the file with the message of this number, or None if that file has been deleted.

        If the message does not exist yet, return the last file.
        """
        position = bisect_right([file.first_sequence for file in self.files], sequence) - 1
        return self.files[position] if position >= 0 else None


class Log:
    """All sessions in the directory, and the newest messages from the ring, which may not be in a file yet (`tail`)."""

    def __init__(self, directory: Path) -> None:
        """Find the log files in `directory`. Raises OSError when the directory cannot be listed."""
        self._directory = directory
        self._sessions: dict[str, Session] = {}
        self._files: dict[Path, LogFile] = {}
        self._growing: list[LogFile] = []
        self.tail = Tail()
        self.refresh()

    @property
    def current(self) -> Session | None:
        """The newest session, or None if there is no log file."""
        return self._sessions[max(self._sessions)] if self._sessions else None

    def session(self, name: str) -> Session | None:
        """Return the session of this name, or None if it is unknown. An empty name means the current session."""
        return self._sessions.get(name) if name else self.current

    def next_sequence(self, session: Session) -> int:
        """Return the number that the session's next message will have.

        It is one more than the number of the last known message, which is in a file or in the tail.
        """
        known = session.next_sequence
        return max(known, self.tail.following) if self.tail.session == session.name else known

    @property
    def is_behind(self) -> bool:
        """Whether the ring has messages of a session whose files `refresh` has not found yet."""
        return self.tail.session > max(self._sessions, default="")

    @property
    def lacks_messages(self) -> bool:
        """Whether messages before the tail are not indexed yet.

        The tail has the newest messages, which came from the ring. The messages before it can only be read from the
        files.
        """
        session = self._sessions.get(self.tail.session)
        return session is not None and session.next_sequence < self.tail.first

    def is_over(self, session: Session) -> bool:
        """Return whether `session` has ended and all its messages are indexed.

        A session has ended when there is a newer one.
        """
        return session is not self.current and session.files[-1] not in self._growing

    def refresh(self) -> None:
        """Find new and deleted files in the directory. Raises OSError when it cannot be listed."""
        found = {path: match for path in self._directory.iterdir() if (match := _NAME.fullmatch(path.name))}
        for path in self._files.keys() - found.keys():
            gone = self._files.pop(path)
            gone.close()
            if gone in self._growing:
                self._growing.remove(gone)
        for path in sorted(found.keys() - self._files.keys()):
            try:
                self._files[path] = LogFile(path, int(found[path][2]))
            except FileNotFoundError:
                continue  # the engine has deleted it since it was listed
            self._growing.append(self._files[path])
        self._sessions = {}
        for path, file in sorted(self._files.items()):
            name = found[path][1]
            self._sessions.setdefault(name, Session(name)).files.append(file)

    def extend(self) -> bool:
        """Add new messages to the indexes of the log files. Return whether there were any.

        The newest file is always checked. Any other file is checked until it has no more new messages.
        """
        newest = self._growing[-1:]
        grew = [file for file in self._growing if file.extend()]
        self._growing = [file for file in self._growing if file in grew or file in newest]
        session = self._sessions.get(self.tail.session)
        if session is not None:
            self.tail.forget_before(session.next_sequence)
        return bool(grew)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
