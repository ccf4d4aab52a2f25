"""Functions on sockets that several programs share."""

from __future__ import annotations

import socket


def family_of(address: str) -> int:
    """Return the address family of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def is_address(text: str) -> bool:
    """Return whether a text is a numeric address. A host name is none: each look-up may give another one."""
    try:
        socket.inet_pton(family_of(text), text)
    except OSError:
        return False
    return True


def not_of_this_machine(address: str) -> str:
    """Return why nothing can listen on a numeric address here; empty where it can."""
    try:
        with socket.socket(family_of(address), socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return f"this machine cannot listen on {address}: {error.strerror}"
    return ""
