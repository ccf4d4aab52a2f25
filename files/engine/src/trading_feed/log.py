"""The engine's ITCH log as sessions of numbered messages; it reads files and knows no sockets.

The directory holds files named `<session, 10 characters>-<number of the first message, 20 digits>.itch`, each a
BinaryFILE: repeated (u16 length, message). They only grow. A restarting engine may cut the newest file and write the
same bytes again, so a known position stays right. Until those bytes are there again the reader waits.
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
    """One file, indexed as it grows: the offset of every 1,024th message."""

    def __init__(self, path: Path, first_sequence: int) -> None:
        self.first_sequence = first_sequence
        self.end_bytes = 0
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._messages = 0
        self._offsets = array("Q")

    @property
    def next_sequence(self) -> int:
        return self.first_sequence + self._messages

    def extend(self) -> bool:
        """Index up to 1 MiB of new messages; return whether there were any."""
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
        """Return the offset of a message; the next expected message begins where the index ends."""
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
        """Return the range's complete messages as SoupBinTCP packets, their number, and the offset after the last."""
        data = os.pread(self._descriptor, end_bytes - begin_bytes, begin_bytes)
        packets, count, size = framed(data)
        return packets, count, begin_bytes + size

    def close(self) -> None:
        os.close(self._descriptor)


class Session:
    """The files of one session in order; the last one grows."""

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
        """Return the file that holds the message or will hold it (the last one for the next message), or None."""
        position = bisect_right([file.first_sequence for file in self.files], sequence) - 1
        return self.files[position] if position >= 0 else None


class Log:
    """All sessions in the directory, the current one last, and the tail of messages that are in no file yet."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError when the directory cannot be listed."""
        self._directory = directory
        self._sessions: dict[str, Session] = {}
        self._files: dict[Path, LogFile] = {}
        self._growing: list[LogFile] = []
        self.tail = Tail()
        self.refresh()

    @property
    def current(self) -> Session | None:
        return self._sessions[max(self._sessions)] if self._sessions else None

    def session(self, name: str) -> Session | None:
        """Return the named session; a blank name means the current one."""
        return self._sessions.get(name) if name else self.current

    def next_sequence(self, session: Session) -> int:
        """Return the number of the session's next message."""
        known = session.next_sequence
        return max(known, self.tail.following) if self.tail.session == session.name else known

    @property
    def is_behind(self) -> bool:
        """Whether the ring shows a session whose files have not been found yet."""
        return self.tail.session > max(self._sessions, default="")

    @property
    def lacks_messages(self) -> bool:
        """Whether the ring left messages out that have not been found in a file yet."""
        session = self._sessions.get(self.tail.session)
        return session is not None and session.next_sequence < self.tail.first

    def is_over(self, session: Session) -> bool:
        """Return whether another session is current and the files of this one are read to their end."""
        return session is not self.current and session.files[-1] not in self._growing

    def refresh(self) -> None:
        """Find new and deleted files. A deleted file is closed; its readers start again."""
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
        """Index new messages; return whether there were any.

        Only the newest file is checked for growth all the time.
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
