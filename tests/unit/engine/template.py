"""A process that has imported the engine, and forks an engine for each start.

The imports take 0.3 seconds of CPU time. A forked engine does not repeat them. tests/unit/engine/process.py runs this
file. Its standard input is a socket, from which it reads requests. A request is a JSON list. The list begins with the
path for NOTIFY_SOCKET, and the engine's arguments follow. Two file descriptors come with the request: the engine's
standard error, and a pipe. This program writes the engine's process id to the pipe and, when the engine has ended, its
exit status.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys

import trading_engine.process.server  # noqa: F401 - what every engine imports
from trading_engine.__main__ import main


def fork_engines(control: socket.socket) -> list[str] | None:
    """Fork engines until the socket ends, then return None. In each forked process, return the engine's arguments."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
        _reap_guards()
        if not request:
            return None
        errors, status = descriptors
        if os.fork() == 0:
            control.close()
            if engine := os.fork():
                _guard(engine, status)
            os.dup2(errors, sys.stderr.fileno())
            for descriptor in descriptors:
                os.close(descriptor)
            wanted: list[str] = json.loads(request)
            os.environ["NOTIFY_SOCKET"], *arguments = wanted
            return arguments
        for descriptor in descriptors:
            os.close(descriptor)


def _reap_guards() -> None:
    """Reap the guards that have ended. Then the CPU time of the guards and of their engines is counted.

    A guard is a process that waits for the end of one engine.
    """
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _guard(engine: int, status: int) -> None:
    """Wait until the engine ends, write its exit status to the pipe `status`, and exit."""
    with contextlib.suppress(BrokenPipeError):
        os.write(status, f"{engine}\n".encode())
        _, ended = os.waitpid(engine, 0)
        os.write(status, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    requests = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    wanted = fork_engines(requests)
    sys.exit(0 if wanted is None else main(wanted))
