"""Messages about a service's status to systemd, by the datagram protocol of sd_notify(3)."""

from __future__ import annotations

import os
import socket


def notify(message: str) -> None:
    """Send a message such as "READY=1" to systemd. If the process was not started by systemd, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect("\0" + address[1:] if address[0] == "@" else address)
            sender.send(message.encode())
        except OSError:
            return


def watchdog_interval_ns() -> int:
    """Return the interval at which to send "WATCHDOG=1" to systemd, half of WatchdogSec. 0 means no watchdog."""
    try:
        if int(os.environ.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return 0
        return int(os.environ.get("WATCHDOG_USEC", "0")) * 1000 // 2
    except ValueError:
        return 0
