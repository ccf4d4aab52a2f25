"""The creation of snapshots while the engine runs, and the deletion of segments that a new snapshot makes unnecessary.

A child process replays the sealed segments and writes the snapshot, so that the engine itself is not delayed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from trading_engine.storage import journal, snapshot

_KEPT_SNAPSHOTS = 2
_PRUNE_AT = 0.5
FIRST_PAUSE_NS: Final = 60_000_000_000
LONGEST_PAUSE_NS: Final = 3_600_000_000_000


class Snapshotter:
    """The control of the child process that writes snapshots, and of the deletion of files.

    Call `tick` about once a second.
    """

    def __init__(self, directory: Path, budget_bytes: int) -> None:
        self.made = 0
        self._directory = directory
        self._budget_bytes = budget_bytes
        self._covered = 0
        self._pending = 0
        self._child = 0
        self._pause_ns = 0
        self._failed_ns = 0
        self._threads = ThreadPoolExecutor(1, "prune")
        self._pruning: Future[int] | None = None

    def tick(self, sealed: int, used_bytes: int) -> list[str]:
        """Start or check the child process, and delete old segments. Return messages for the operator.

        `sealed` is the number of segments that this engine has sealed, `used_bytes` the size of the journal's files.
        """
        told: list[str] = []
        excess_bytes = used_bytes - int(self._budget_bytes * _PRUNE_AT)
        # Old segments can be deleted only after a snapshot. So if the journal is large, the pauses stay short.
        longest_ns = FIRST_PAUSE_NS if excess_bytes > 0 else LONGEST_PAUSE_NS
        if self._child:
            done, status = os.waitpid(self._child, os.WNOHANG)
            if done:
                self._child = 0
                code = os.waitstatus_to_exitcode(status)
                if code == 0:
                    self.made += 1
                    self._covered = self._pending
                    self._pause_ns = 0
                else:
                    # The next attempt will probably fail for the same reason, such as too little memory.
                    self._pause_ns = min(max(2 * self._pause_ns, FIRST_PAUSE_NS), longest_ns)
                    self._failed_ns = time.monotonic_ns()
                    told.append(
                        f"snapshot failed with exit code {code}; the journal stays longer than it should, "
                        f"next try in {self._pause_ns // 1_000_000_000} s"
                    )
        elif sealed > self._covered and time.monotonic_ns() - self._failed_ns >= min(self._pause_ns, longest_ns):
            self._pending = sealed
            command = [sys.executable, "-m", "trading_engine", "snapshot", str(self._directory)]
            quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
            self._child = os.posix_spawn(sys.executable, command, os.environ, file_actions=quiet)
        if self._pruning is not None and self._pruning.done():
            error = self._pruning.exception()
            if error is not None:
                told.append(f"old journal segments cannot be deleted: {error}")
            self._pruning = None
        if self._pruning is None and excess_bytes > 0:
            self._pruning = self._threads.submit(prune, self._directory, excess_bytes)
        return told

    def stop(self) -> None:
        """Kill the child process, so that it does not write while the next engine runs. Delete its unfinished file."""
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0
            for part in self._directory.glob("*[0-9].part"):
                part.unlink(missing_ok=True)
        self._threads.shutdown(wait=True)


def prune(directory: Path, excess_bytes: int) -> int:
    """Delete old files of the journal: all snapshots but the two newest, and segments that these two do not need.

    The oldest segments are deleted first, and no more of them than are needed to free `excess_bytes`. Return the number
    of freed bytes. Raises OSError when a file cannot be deleted.
    """
    freed_bytes = 0
    snapshots = snapshot.files(directory)
    for path in snapshots[:-_KEPT_SNAPSHOTS]:
        freed_bytes += path.stat().st_size
        path.unlink()
    kept = snapshots[-_KEPT_SNAPSHOTS:]
    if not kept:
        return freed_bytes
    needed_from = int(kept[0].stem)
    for path in journal.segments(directory):
        if int(path.stem) >= needed_from or freed_bytes >= excess_bytes:
            break
        freed_bytes += path.stat().st_size
        path.unlink()
    return freed_bytes
