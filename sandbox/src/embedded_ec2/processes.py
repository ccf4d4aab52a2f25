"""Functions that identify processes by id and start time, because process ids are reused."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def start_ticks(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot (proc(5) stat, field 22).

    Return None when the process does not exist or has ended.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(b")")[2].split()  # the process's name before it may contain any bytes
    return None if fields[0] == b"Z" else int(fields[19])


def is_alive(pid: int, started_ticks: int) -> bool:
    return start_ticks(pid) == started_ticks


def end(pid: int, started_ticks: int, *, grace_seconds: float) -> None:
    """Send SIGTERM to the process, kill it after the grace period, and return when it has ended."""
    for wanted, limit_seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
        deadline = time.monotonic() + limit_seconds
        if limit_seconds and is_alive(pid, started_ticks):
            try:
                os.kill(pid, wanted)
            except ProcessLookupError:
                return
        while is_alive(pid, started_ticks):
            if time.monotonic() >= deadline:
                break
            time.sleep(0.02)
        else:
            return


def children(pid: int) -> list[int]:
    """Return the ids of the process's direct children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_bytes().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def inside(netns: str) -> list[int]:
    """Return the ids of the processes in a network namespace."""
    try:
        wanted = os.stat(f"/run/netns/{netns}")
    except FileNotFoundError:
        return []
    found = []
    for entry in Path("/proc").glob("[0-9]*/ns/net"):
        with suppress(OSError):
            it = os.stat(entry)
            if (it.st_dev, it.st_ino) == (wanted.st_dev, wanted.st_ino):
                found.append(int(entry.parts[2]))
    return found
