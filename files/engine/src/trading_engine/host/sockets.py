"""Checks of network addresses that several programs use."""

from __future__ import annotations

import socket


def family_of(address: str) -> int:
    """Return the socket family of a numeric address: AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def is_address(text: str) -> bool:
    """Return whether a text is a numeric IP address.

    The programs listen only on numeric addresses, because each look-up of a host name may return another address.
    """
    try:
        socket.inet_pton(family_of(text), text)
    except OSError:
        return False
    return True


def not_of_this_machine(address: str) -> str:
    """Return why this machine cannot listen on a numeric address, or "" if it can."""
    try:
        with socket.socket(family_of(address), socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return f"this machine cannot listen on {address}: {error.strerror}"
    return ""
