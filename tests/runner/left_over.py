"""Stops the processes that a part of the tests has left running: python -m tests.runner.left_over MARK

MARK is a random text that the runner puts into the environment of the part's processes. This is a separate program,
because it must run as root to read the environment of root's processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "LOWLATENCY_TEST_PART"
GRACE_S = 5.0
SANDBOX = Path(__file__).parents[2] / "scripts/sandbox"


@dataclass(frozen=True)
class Process:
    """A running process: its id, and the words of its command line."""

    pid: int
    words: tuple[str, ...]

    @property
    def sandbox(self) -> str:
        """The name of the sandbox, if the process is a sandbox's main process. It is empty for any other process."""
        if "embedded_ec2" in self.words and "serve" in self.words and "--name" in self.words:
            return self.words[self.words.index("--name") + 1]
        return ""

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)


def marked(mark: str) -> list[Process]:
    """Return the running processes that have this mark in their environment, except this process."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (directory / "environ").read_bytes().split(b"\0") and int(directory.name) != os.getpid():
                words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
                found.append(Process(int(directory.name), tuple(words)))
        except (OSError, ValueError):
            continue  # it has ended, or belongs to another user
    return found


def stop(mark: str) -> list[str]:
    """Stop the processes with this mark. Return a line of text about each process or sandbox that still ran.

    A sandbox is stopped by its own command. Other processes get SIGTERM. Those that still run after some seconds get
    SIGKILL.
    """
    said = []
    for name in sorted({process.sandbox for process in marked(mark)} - {""}):
        subprocess.run([SANDBOX, "down", "--name", name], check=False, capture_output=True, timeout=300)
        said.append(f"sandbox {name} was still up")
    processes = marked(mark)
    said += [f"still running: {process.pid} {' '.join(process.words)[:150]}" for process in processes]
    for process in processes:
        process.send(signal.SIGTERM)
    end_s = time.monotonic() + GRACE_S
    while (rest := marked(mark)) and time.monotonic() < end_s:
        time.sleep(0.1)  # between two checks
    for process in rest:
        process.send(signal.SIGKILL)
    return said


if __name__ == "__main__":
    for line in stop(sys.argv[1]):
        print(line)
