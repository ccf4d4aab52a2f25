"""AWS's limits on the instance's network: the ENA driver's allowance counters, read as `ethtool -S` does."""

import fcntl
import socket
import struct
from array import array

_SIOCETHTOOL = 0x8946
_GSSET_INFO, _GSTRINGS, _GSTATS = 0x37, 0x1B, 0x1D
_SET_STATISTICS = 1
_NAME_BYTES = 32
_ENDING = "_allowance_exceeded"


def allowance_exceeded() -> dict[str, int]:
    """Return the packets held back by each limit (bw_in, bw_out, pps, conntrack, …), all interfaces added.

    Empty without ENA, and where the process may not ask for the interfaces (AF_NETLINK refused by its unit).
    """
    found: dict[str, int] = {}
    try:
        interfaces = socket.if_nameindex()
    except OSError:
        return found
    for _, interface in interfaces:
        for name, value in statistics(interface).items():
            if name.endswith(_ENDING):
                limit = name.removesuffix(_ENDING)
                found[limit] = found.get(limit, 0) + value
    return found


def statistics(interface: str) -> dict[str, int]:
    """Return the driver's own counters; empty when it has or reports none. Source: linux/ethtool.h."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            head = _ask(sock, interface, struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SET_STATISTICS, 0))
            count = int(struct.unpack_from("=I", head, 16)[0])
            names = _ask(sock, interface, struct.pack("=III", _GSTRINGS, _SET_STATISTICS, count), _NAME_BYTES * count)
            values = _ask(sock, interface, struct.pack("=II", _GSTATS, count), 8 * count)
    except OSError:
        return {}
    numbers = struct.unpack_from(f"={count}Q", values, 8)
    texts = (names[12 + _NAME_BYTES * i : 12 + _NAME_BYTES * (i + 1)] for i in range(count))
    return {text.split(b"\0")[0].decode("ascii"): number for text, number in zip(texts, numbers, strict=True)}


def _ask(sock: socket.socket, interface: str, request: bytes, room_bytes: int = 0) -> bytes:
    """Let the kernel fill the request's buffer; raises OSError."""
    buffer = array("B", request + bytes(room_bytes))
    fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP", interface.encode(), buffer.buffer_info()[0]))
    return buffer.tobytes()
