"""Writes the bytes that a client and a server exchange to a capture file, which Wireshark can read."""

from __future__ import annotations

import struct
from pathlib import Path

_GLOBAL = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)  # link type: raw IPv4
_CLIENT, _SERVER = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))


def write_capture(path: Path, port: int, said: list[tuple[bool, bytes]]) -> None:
    """Write a capture file with one TCP connection to this port.

    `said` lists what was sent, in order. An entry tells whether the client was the sender, and has the sent bytes. Each
    entry becomes one TCP segment.
    """
    sequence = {True: 1, False: 1}
    frames: list[bytes] = []
    for by_client, payload in said:
        source, target = (_CLIENT, _SERVER) if by_client else (_SERVER, _CLIENT)
        ports = (40_000, port) if by_client else (port, 40_000)
        tcp = struct.pack(
            ">HHIIBBHHH", *ports, sequence[by_client], sequence[not by_client], 0x50, 0x18, 65535, 0, 0
        )  # fmt: skip
        total = 20 + len(tcp) + len(payload)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, 6, 0, source, target)
        sequence[by_client] += len(payload)
        frames.append(struct.pack("<IIII", len(frames), 0, total, total) + ip + tcp + payload)
    path.write_bytes(_GLOBAL + b"".join(frames))
