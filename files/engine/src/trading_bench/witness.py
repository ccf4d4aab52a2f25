"""A witness of the machine: a real-time thread that wakes each millisecond on one CPU and runs a fixed loop.

Nothing of normal priority delays it. So the machine or the kernel caused each event that it records: a late wake-up, or
a loop that took several times as long as in a quiet moment. Then it runs the loop ten times more: by then an interrupt
is over, but a slow CPU is still slow. One process watches one CPU.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
from array import array
from typing import Final

PERIOD_NS: Final = 1_000_000
LATE_NS: Final = 200_000
SLOW_TIMES: Final = 3
QUIET_WAKES: Final = 300
LOOP: Final = 200  # 2 to 4 µs; with the wake-up itself the witness takes about 2 % of the CPU
PROBE_LOOPS: Final = 10
PRIORITY: Final = 90  # above any service of the host, below the kernel's own migration threads
NAME: Final = "trading-witness"  # the process's name, at most 15 letters: other watches know a witness by it
_STOP: Final = frozenset((signal.SIGINT, signal.SIGTERM))
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_TIMERSLACK = 29
_CURRENT_AND_FUTURE = 3  # MCL_CURRENT | MCL_FUTURE, <sys/mman.h>


class Witness:
    """The marks of one CPU: each millisecond that differed from a quiet moment.

    A mark has the due time, the lateness of the wake-up, and the time of ten loops. Slow is more than 3 times ten quiet
    loops. Times are `time.monotonic_ns()`. `refused` says why there was no real-time priority, and is empty when there
    was.
    """

    def __init__(self, cpu: int) -> None:
        self.cpu = cpu
        self.refused = ""
        self.quiet_loop_ns = 0
        self.loaded_loop_ns = 0
        self.wakes = 0
        self.cpu_ns = 0
        self.due_ns = array("q")
        self.late_ns = array("q")
        self.probe_ns = array("q")

    def settle(self) -> None:
        """Move this process to its CPU and priority, and measure the quiet median.

        Raises OSError if the CPU is not allowed.
        """
        os.sched_setaffinity(0, {self.cpu})
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        except OSError as error:
            self.refused = error.strerror or str(error)
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        libc.prctl(_PR_SET_NAME, NAME.encode(), 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)  # end with the parent
        libc.mlockall(_CURRENT_AND_FUTURE)
        gc.disable()
        loops = sorted(self._wake_up(QUIET_WAKES))
        self.quiet_loop_ns = loops[len(loops) // 2]

    def watch(self, limit_s: float) -> None:
        """Watch until SIGTERM or SIGINT, which the caller has blocked, is pending or the limit is over.

        A handler would not work: compiled code runs none, and a signal that arrives while the thread is awake would be
        lost.
        """
        begun_ns, before_ns = time.monotonic_ns(), time.thread_time_ns()
        end_ns = begun_ns + int(limit_s * 1e9)
        recent = array("q")
        while not _STOP & signal.sigpending() and time.monotonic_ns() < end_ns:
            loops = self._wake_up(100)
            self.wakes += 100
            recent.append(sorted(loops)[50])
        if recent:
            self.loaded_loop_ns = sorted(recent)[len(recent) // 2]
        self.cpu_ns = time.thread_time_ns() - before_ns

    def _wake_up(self, times: int) -> list[int]:
        """Wake this number of times, one millisecond apart; return how long each loop took."""
        clock, sleep = time.monotonic_ns, time.sleep
        slow_ns = self.quiet_loop_ns * SLOW_TIMES
        loops: list[int] = []
        due_ns = clock() + PERIOD_NS
        for _ in range(times):
            left_ns = due_ns - clock()
            if left_ns > 0:
                sleep(left_ns / 1e9)
            woke_ns = clock()
            total = sum(range(LOOP))
            done_ns = clock()
            late_ns = woke_ns - due_ns
            loop_ns = done_ns - woke_ns
            loops.append(loop_ns)
            if slow_ns and total and (late_ns > LATE_NS or loop_ns > slow_ns):
                probe_ns = self._probe()
                done_ns += probe_ns
                if late_ns > LATE_NS or probe_ns > slow_ns * PROBE_LOOPS:
                    self.due_ns.append(due_ns)
                    self.late_ns.append(late_ns)
                    self.probe_ns.append(probe_ns)
            due_ns += PERIOD_NS
            if due_ns < done_ns:  # skip the milliseconds that have passed: they lie within the mark
                due_ns = done_ns + PERIOD_NS
        return loops

    def _probe(self) -> int:
        begun_ns = time.monotonic_ns()
        for _ in range(PROBE_LOOPS):
            sum(range(LOOP))
        return time.monotonic_ns() - begun_ns

    def record(self) -> dict[str, object]:
        """Return the record, for JSON."""
        return {
            "cpu": self.cpu,
            "refused": self.refused,
            "quiet_loop_ns": self.quiet_loop_ns,
            "loaded_loop_ns": self.loaded_loop_ns,
            "milliseconds": self.wakes,
            "cpu_ns": self.cpu_ns,
            "marks": [list(mark) for mark in zip(self.due_ns, self.late_ns, self.probe_ns, strict=True)],
        }


def main() -> None:
    """Watch the CPU given as argument, for the given seconds or until SIGTERM; write the record to standard output.

    The first line, `ready`, is written when the quiet median is known.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    witness = Witness(int(sys.argv[1]))
    witness.settle()
    print("ready", flush=True)
    witness.watch(float(sys.argv[2]))
    print(json.dumps(witness.record()), flush=True)
