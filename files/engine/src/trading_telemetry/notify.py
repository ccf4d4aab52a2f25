"""What systemd is told (sd_notify(3)); silent where the process was not started by it."""

import os
import socket


def notify(message: str) -> None:
    """Send one datagram, `READY=1` for example."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagram:
        datagram.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)


def watchdog_interval_s() -> float | None:
    """Half of what systemd expects (WatchdogSec), or None when it expects nothing."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    return int(microseconds) / 2e6 if microseconds else None
