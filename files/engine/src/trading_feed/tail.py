"""The tail: the newest messages of market data, read from the ring. They are kept until the log files have them too."""

from __future__ import annotations

import struct
from collections import deque

from trading_engine.wire.soupbintcp import SEQUENCED

_HEADS = {length: struct.pack(">HB", length + 1, SEQUENCED) for length in range(1, 256)}


def framed(data: bytes) -> tuple[bytes, int, int]:
    """Return the messages in a part of a log file as SoupBinTCP packets, and two numbers.

    The numbers are the count of the messages, and their size in `data`. `data` must begin with a message. A message
    that is incomplete at the end is left out.
    """
    parts: list[bytes] = []
    start, size = 0, len(data)
    while size - start >= 2:
        length = data[start] << 8 | data[start + 1]
        end = start + 2 + length
        if end > size:
            break
        parts.append(_HEADS[length])
        parts.append(data[start + 2 : end])
        start = end
    return b"".join(parts), len(parts) // 2, start


class Tail:
    """Consecutive messages of one session as SoupBinTCP packets: those with the numbers `first` to `following` - 1."""

    def __init__(self) -> None:
        self.session = ""
        self.first = 1
        self.following = 1
        # Each piece has the number of its first message, the number after its last message, and the packets.
        self._pieces: deque[tuple[int, int, bytes]] = deque()
        self._asked = 0
        self._answer = b""

    def add(self, session: str, first: int, data: bytes) -> None:
        """Add messages from the ring. `data` has the format of the log files, and its first message the number `first`.

        If messages are missing in between, or if the session is another one, all earlier messages are dropped.
        """
        packets, count, _ = framed(data)
        if session != self.session or first != self.following:
            self._pieces.clear()
            self.session, self.first = session, first
        self.following = first + count
        self._pieces.append((first, self.following, packets))
        self._asked = 0

    def forget_before(self, sequence: int) -> None:
        """Drop messages before this number, because the log files have them. Only whole pieces are dropped."""
        pieces = self._pieces
        while pieces and pieces[0][1] <= sequence:
            self.first = pieces.popleft()[1]

    def holds(self, session: str, sequence: int) -> bool:
        """Return whether the message with this number in this session is in the tail."""
        return self.first <= sequence < self.following and session == self.session

    def since(self, sequence: int) -> bytes:
        """Return the packets of the message with this number and of all later messages.

        The tail must hold the message. The last result is kept, because several subscribers ask for the same packets
        one after another.
        """
        if sequence == self._asked:
            return self._answer
        found: list[bytes] = []
        for first, _, packets in reversed(self._pieces):
            if first <= sequence:
                at = 0
                for _ in range(sequence - first):
                    at += 2 + (packets[at] << 8 | packets[at + 1])
                found.append(packets[at:] if at else packets)
                break
            found.append(packets)
        found.reverse()
        self._asked, self._answer = sequence, b"".join(found)
        return self._answer
