"""The PROXY header, version 1: the line before a client's first byte in which a proxy names that client.

https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt, section 2.1. The header is believed, so it is read only on
a separate listener, which nobody but this host reaches.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from trading_engine.wire.layout import WireError

LISTENER_ADDRESS = "127.0.0.1"
LONGEST_BYTES = 107
"""Of the whole line, its end included."""
_BEGIN = b"PROXY TCP"
_END = b"\r\n"
_FIELDS = 6
_HIGHEST_PORT = 65_535


def split(data: bytes) -> tuple[str, bytes] | None:
    """Return the client's address and the bytes after the line; None while the line is not complete.

    Raises WireError.
    """
    if not data.startswith(_BEGIN[: len(data)]):
        raise WireError("no PROXY header")
    end = data.find(_END, 0, LONGEST_BYTES)
    if end < 0:
        if len(data) >= LONGEST_BYTES:
            raise WireError("PROXY header too long")
        return None
    return _client(data[:end]), data[end + len(_END) :]


def _client(line: bytes) -> str:
    fields = line.decode("latin-1").split(" ")
    if len(fields) != _FIELDS:
        raise WireError("malformed PROXY header")
    _, family, client, proxy, client_port, proxy_port = fields
    try:
        address = _address(family, client)
        _address(family, proxy)
    except ValueError as error:
        raise WireError("PROXY header without an address") from error
    for port in (client_port, proxy_port):
        if not re.fullmatch("[0-9]{1,5}", port) or int(port) > _HIGHEST_PORT:
            raise WireError("PROXY header without a port")
    return address


def _address(family: str, text: str) -> str:
    """Return the address as the kernel would write it; an IPv4 address mapped to IPv6 becomes an IPv4 address."""
    if family == "TCP4":
        return str(IPv4Address(text))
    if family != "TCP6" or "%" in text:
        raise ValueError(family)
    address = IPv6Address(text)
    return str(address.ipv4_mapped or address)
