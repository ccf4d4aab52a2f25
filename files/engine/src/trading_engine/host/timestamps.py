"""The kernel's time of receipt for the bytes of a read: SO_TIMESTAMPNS, see socket(7) and the kernel's timestamping."""

from __future__ import annotations

import socket
from struct import Struct

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module does not name it
_TIMESPEC = Struct("qq")
_unpack = _TIMESPEC.unpack
ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
"""The size of the ancillary data that recvmsg() needs for the timestamp."""


def enable(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def received_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return the wall-clock time of the newest byte, given the ancillary data of recvmsg()."""
    seconds, nanoseconds = _unpack(ancillary[0][2])
    received: int = seconds * 1_000_000_000 + nanoseconds
    return received
