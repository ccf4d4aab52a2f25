"""What sockets of several programs have in common."""

from __future__ import annotations

import socket


def family_of(address: str) -> int:
    """Return the address family of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET
