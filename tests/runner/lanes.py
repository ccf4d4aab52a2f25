"""Runs the parts of the tests in lanes. A lane is a list of parts that run one after the other.

The lanes run at the same time. Each part has a log file. When a part ends, all processes that it has started and left
running are stopped.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.runner import left_over
from tests.runner.parts import Part, Plan
from tests.runner.results import Outcome, failure, outcome
from tests.runner.screen import Screen

ROOT = Path(__file__).parents[2]
# How long an interrupted part may take to clean up. A sandbox with machines takes about ten seconds.
CLEAN_UP_S = 90.0
SUDO_EACH_S = 60.0
# How long to read output after a part's end. A process that the part has left running may keep the output open.
READ_ON_S = 5.0
INTERRUPTED = 130
# The environment variable with the path of a lock file. The last tests of some parts measure. The file is locked while
# any other part runs, and these tests wait for the lock (tests/e2e/conftest.py).
BESIDE = "TRADING_TESTS_BESIDE"


@dataclass
class Run:
    """One run of a plan: the parts that run now, and the results so far."""

    plan: Plan
    logs: Path
    verbose: bool
    total: Outcome = field(default_factory=Outcome)
    failed: list[Part] = field(default_factory=list)
    running: dict[str, tuple[float, subprocess.Popen[bytes]]] = field(default_factory=dict)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.screen = Screen(self._what_runs)
        self._lock = threading.Lock()
        self._beside_path = self.logs / "beside.lock"

    def go(self) -> int:
        """Run all parts and return the exit status. Ctrl-C stops the running parts, and then no further part begins."""
        # This also sets SIGINT. A process in the background inherits that SIGINT is ignored, and its parts would
        # inherit it too.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        self._beside = os.open(self._beside_path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            self._side_by_side(self.plan.lanes)
            self._side_by_side([self.plan.alone])
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            self.screen.line("interrupted: stopping what runs and removing what it made")
            self._stop()
            return INTERRUPTED
        finally:
            self.screen.close()
            os.close(self._beside)
        return 1 if self.failed else 0

    def _side_by_side(self, lanes: Sequence[Sequence[Part]]) -> None:
        self._waiting = [deque(lane) for lane in lanes]
        self._unfinished = sum(not part.measures_last for lane in lanes for part in lane)
        if self._unfinished:
            fcntl.flock(self._beside, fcntl.LOCK_EX)
        # Do not use Thread.join(). When a signal interrupts it, Python 3.11 assumes that the thread has ended.
        self._ends = [threading.Event() for _ in lanes]
        for lane, end in zip(self._waiting, self._ends, strict=True):
            threading.Thread(target=self._lane, args=(lane, end)).start()
        refreshed_s = time.monotonic()
        for end in self._ends:
            while not end.wait(0.5):  # the limit lets Python handle signals
                if os.geteuid() != 0 and time.monotonic() - refreshed_s > SUDO_EACH_S:
                    subprocess.run(["sudo", "-n", "true"], check=False, stderr=subprocess.DEVNULL)
                    refreshed_s = time.monotonic()

    def _lane(self, own: deque[Part], end: threading.Event) -> None:
        try:
            while not self.stopping and (part := self._next(own)):
                self._try(part)
                self._count_off(part)
        finally:
            end.set()

    def _count_off(self, part: Part) -> None:
        """Count a part that has ended. After the last part that does not measure, release a lock.

        The tests that measure wait for this lock.
        """
        with self._lock:
            self._unfinished -= not part.measures_last
            if not self._unfinished:
                fcntl.flock(self._beside, fcntl.LOCK_UN)

    def _next(self, own: deque[Part]) -> Part | None:
        """Remove a part from a lane and return it: the next part of the lane `own`.

        If that lane is empty, take the last part of the lane with the most parts left. Return None when no part is
        left.
        """
        with self._lock:
            fullest = max(self._waiting, key=len)
            return own.popleft() if own else fullest.pop() if fullest else None

    def _try(self, part: Part) -> None:
        """Run a part. When it cannot be started, count it as failed, and let the other parts still run."""
        try:
            self._part(part)
        except OSError as error:
            with self._lock:
                self.total.failed += 1
                self.failed.append(part)
            self.screen.part("FAILED", part.name, 0.0, 0.0, f"cannot run it: {error}")

    def _part(self, part: Part) -> None:
        log, report = (self.logs / f"{part.name.replace(' ', '-')}.{kind}" for kind in ("log", "xml"))
        mark = secrets.token_hex(8)
        begun_s = time.monotonic()
        self.screen.begins(part.name)
        with log.open("wb") as file:
            process = subprocess.Popen(
                self._command(part, mark, report),
                cwd=ROOT,
                env={**os.environ, left_over.MARK: mark, BESIDE: str(self._beside_path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.verbose else file,
                stderr=subprocess.STDOUT,
                process_group=0,  # a new session instead would make sudo ask for the password again
            )
            with self._lock:
                self.running[part.name] = (begun_s, process)
                if self.stopping:
                    process.send_signal(signal.SIGINT)
            reader = threading.Thread(target=self._copy, args=(part, process, file), daemon=True)
            reader.start()  # it ends at once when the output goes to the log directly
            _, code, usage = os.wait4(process.pid, 0)  # also returns the CPU time
            status = process.returncode = os.waitstatus_to_exitcode(code)
            with self._lock:
                del self.running[part.name]
            sweep = [*_as_root(part), sys.executable, "-m", "tests.runner.left_over", mark]
            subprocess.run(sweep, cwd=ROOT, stdout=file, stderr=file, check=False, process_group=0)
            reader.join(READ_ON_S)
        self._ended(part, log, report, status, time.monotonic() - begun_s, usage.ru_utime + usage.ru_stime)

    def _copy(self, part: Part, process: subprocess.Popen[bytes], file: BinaryIO) -> None:
        """With --verbose, copy a part's output to its log and to the terminal. Without --verbose, do nothing."""
        prefix = f"{part.name} | " if len(self.plan.parts) > 1 else ""
        if process.stdout:
            with process.stdout as said:
                for line in said:
                    file.write(line)
                    self.screen.line(prefix + line.decode(errors="replace").rstrip("\n"))

    def _ended(self, part: Part, log: Path, report: Path, status: int, took_s: float, cpu_s: float) -> None:
        found = outcome(part.kind, part.name, log, report, status, took_s)
        with self._lock:
            self.total.add(found)
            if status:
                self.failed.append(part)
        if self.stopping:
            self.screen.part("stopped", part.name, took_s, cpu_s, "")
            return
        self.screen.part("FAILED" if status else "ok", part.name, took_s, cpu_s, str(found))
        for note in found.notes:
            self.screen.line(f"         {note}")
        if status and not self.verbose:
            self.screen.line(f"{failure(part.kind, log)}\n\nall of it: {log}\n")

    def _command(self, part: Part, mark: str, report: Path) -> list[str]:
        argv = part.argv
        if part.kind == "pytest":
            argv = [*argv, f"--junitxml={report}", "-o", "junit_family=xunit1", "-o", "junit_duration_report=total"]
        if not part.root or os.geteuid() == 0:
            return argv
        # root uses its own caches. Otherwise the user's caches would contain files that only root can write.
        kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        kept |= {name: os.environ[name] for name in ("PATH", "PYTHONPATH")}
        kept |= {"PYTHONPYCACHEPREFIX": f"{os.environ['PYTHONPYCACHEPREFIX']}-of-root"}
        kept |= {left_over.MARK: mark, BESIDE: str(self._beside_path)}
        return [*_as_root(part), "env", *(f"{name}={value}" for name, value in kept.items()), *argv]

    def _stop(self) -> None:
        """Send SIGINT to the running parts, as Ctrl-C at a terminal does. Kill those that still run after a limit.

        Then the thread of each part stops the processes that this part has left.
        """
        self.stopping = True
        end_s = time.monotonic() + CLEAN_UP_S
        self._signal(signal.SIGINT)
        for end in self._ends:
            end.wait(max(0.0, end_s - time.monotonic()))
        self._signal(signal.SIGKILL)
        for end in self._ends:
            end.wait()

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            running = [process for _, process in self.running.values()]
        for process in running:
            try:
                os.killpg(process.pid, number)
            except PermissionError:
                subprocess.run(["sudo", "-n", "kill", f"-{number.name}", "--", f"-{process.pid}"], check=False)
            except ProcessLookupError:
                continue

    def _what_runs(self) -> str:
        with self._lock:
            now_s = time.monotonic()
            return "running: " + ", ".join(
                f"{name} {now_s - begun_s:.0f} s" for name, (begun_s, _) in self.running.items()
            )


def _as_root(part: Part) -> list[str]:
    return ["sudo", "-H"] if part.root and os.geteuid() != 0 else []
