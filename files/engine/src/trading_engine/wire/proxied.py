"""The PROXY header, version 1.

It is a line with the client's address that a proxy sends before the client's first byte.

See https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt, section 2.1. Any client could send a false header. So
headers are read only on a separate port that is reachable only from this host.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from trading_engine.wire.layout import WireError

LISTENER_ADDRESS = "127.0.0.1"
LONGEST_BYTES = 107  # the greatest length of the header
"""Of the whole line, its end included."""
_BEGIN = b"PROXY TCP"
_END = b"\r\n"
_FIELDS = 6
_HIGHEST_PORT = 65_535


def split(data: bytes) -> tuple[str, bytes] | None:
    """Return the client's address and the bytes after the header, or None while the header is not complete.

    Raises WireError when `data` does not begin with a valid header.
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
    """Return the address in its normal form. An IPv4 address that is mapped to IPv6 is returned as IPv4.

    Raises ValueError when `text` is no address of the family.
    """
    if family == "TCP4":
        return str(IPv4Address(text))
    if family != "TCP6" or "%" in text:
        raise ValueError(family)
    address = IPv6Address(text)
    return str(address.ipv4_mapped or address)
