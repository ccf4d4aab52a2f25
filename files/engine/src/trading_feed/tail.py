"""The newest messages from the ring: the log files do not have them yet, or have got them a moment ago."""

from __future__ import annotations

import struct
from collections import deque

from trading_engine.wire.soupbintcp import SEQUENCED

_HEADS = {length: struct.pack(">HB", length + 1, SEQUENCED) for length in range(1, 256)}


def framed(data: bytes) -> tuple[bytes, int, int]:
    """Return the complete messages of a BinaryFILE as SoupBinTCP packets, their number, and their size in bytes."""
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
    """Messages of one session without a gap, from `first` to the one before `following`, as packets."""

    def __init__(self) -> None:
        self.session = ""
        self.first = 1
        self.following = 1
        self._pieces: deque[tuple[int, int, bytes]] = deque()  # first number, the number after the last, packets
        self._asked = 0
        self._answer = b""

    def add(self, session: str, first: int, data: bytes) -> None:
        """Add the messages from the ring; drop earlier messages that do not lead up to them."""
        packets, count, _ = framed(data)
        if session != self.session or first != self.following:
            self._pieces.clear()
            self.session, self.first = session, first
        self.following = first + count
        self._pieces.append((first, self.following, packets))
        self._asked = 0

    def forget_before(self, sequence: int) -> None:
        """Drop the messages before this number, which are in the files."""
        pieces = self._pieces
        while pieces and pieces[0][1] <= sequence:
            self.first = pieces.popleft()[1]

    def holds(self, session: str, sequence: int) -> bool:
        return self.first <= sequence < self.following and session == self.session

    def since(self, sequence: int) -> bytes:
        """Return all packets from this message on. The tail must still hold the message.

        Subscribers ask for the same packets one after another.
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
