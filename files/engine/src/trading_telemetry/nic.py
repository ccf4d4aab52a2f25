"""The packets that AWS held back because the instance exceeded a limit of its network.

The driver of AWS's network card (ENA) counts them. This module reads the counters in the same way as `ethtool -S`.
"""

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
    """Return a dictionary: limit of the network → number of packets that AWS held back because of it.

    A limit is named as by AWS, for example "bw_in", "pps" or "conntrack". The packets of all interfaces are added up.
    The result is {} if there is no ENA card, AWS's network card. It is also {} if the systemd unit forbids AF_NETLINK,
    because then the process cannot list the interfaces.
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
    """Return a dictionary: counter → value, as the interface's driver reports them (linux/ethtool.h).

    The result is {} if the driver reports none.
    """
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
    """Send an ethtool request to the kernel, and return the buffer that the kernel filled.

    The buffer has the request, followed by `room_bytes` bytes for the answer. Raises OSError if the kernel refuses the
    request.
    """
    buffer = array("B", request + bytes(room_bytes))
    fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP", interface.encode(), buffer.buffer_info()[0]))
    return buffer.tobytes()
