"""The time at which the kernel received the bytes that a process reads from a socket.

The socket option SO_TIMESTAMPNS requests it; see socket(7) and the kernel's document timestamping.
"""

from __future__ import annotations

import socket
from struct import Struct

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module does not name it
_TIMESPEC = Struct("qq")
_unpack = _TIMESPEC.unpack
ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
"""The size of the ancillary data that recvmsg() needs for the timestamp."""


def enable(sock: socket.socket) -> None:
    """Make recvmsg() of this socket return the times of receipt as ancillary data."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def received_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return when the kernel received the newest byte, in nanoseconds since 1970.

    The argument is the ancillary data that recvmsg() returned.
    """
    seconds, nanoseconds = _unpack(ancillary[0][2])
    received: int = seconds * 1_000_000_000 + nanoseconds
    return received
