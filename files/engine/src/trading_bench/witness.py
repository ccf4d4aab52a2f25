"""A witness: a process with real-time priority that detects when its CPU was taken away or slowed.

It wakes up each millisecond on one CPU and runs a short loop, always the same one. Processes of normal priority cannot
delay it. So if it wakes up late, or the loop takes several times as long as before the load, the machine or the kernel
is the cause. In both cases it runs the loop ten times more. After an interrupt these ten loops are as fast as usual. On
a slowed CPU they are slow too.
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
LOOP: Final = 200  # the loop takes 2 to 4 µs; together with the wake-ups a witness uses about 2 % of its CPU
PROBE_LOOPS: Final = 10
PRIORITY: Final = 90  # higher than any service of the host, lower than the kernel's migration threads
NAME: Final = "trading-witness"  # the name of the process, by which `machine` recognizes witnesses; at most 15 letters
_STOP: Final = frozenset((signal.SIGINT, signal.SIGTERM))
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_TIMERSLACK = 29
_CURRENT_AND_FUTURE = 3  # MCL_CURRENT | MCL_FUTURE, <sys/mman.h>


class Witness:
    """The witness of one CPU, and its marks: each wake-up that was late or whose loops were slow.

    A mark has the time at which the wake-up was due, how late it was, and the time of ten loops, all in nanoseconds.
    The loops are slow if they took more than SLOW_TIMES as long as before the load (`quiet_loop_ns`). Times are
    monotonic. `refused` says why the process got no real-time priority. It is "" if the process got that priority.
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
        """Move this process to its CPU, set its priority, and measure how long the loop usually takes (median).

        Raises OSError if this process may not run on the CPU.
        """
        os.sched_setaffinity(0, {self.cpu})
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        except OSError as error:
            self.refused = error.strerror or str(error)
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        libc.prctl(_PR_SET_NAME, NAME.encode(), 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)  # the kernel kills this process if its parent ends
        libc.mlockall(_CURRENT_AND_FUTURE)
        gc.disable()
        loops = sorted(self._wake_up(QUIET_WAKES))
        self.quiet_loop_ns = loops[len(loops) // 2]

    def watch(self, limit_s: float) -> None:
        """Wake up each millisecond until SIGTERM or SIGINT is pending, or until `limit_s` has passed.

        The caller must have blocked these signals. Signal handlers are not used, because compiled code does not run
        them. A signal that arrived while the thread is awake would be lost.
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
        """Wake up `times` times, one millisecond apart, and add marks. Return the time of each loop in ns."""
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
            if due_ns < done_ns:  # skip wake-ups whose due time has passed, because the mark covers that time
                due_ns = done_ns + PERIOD_NS
        return loops

    def _probe(self) -> int:
        begun_ns = time.monotonic_ns()
        for _ in range(PROBE_LOOPS):
            sum(range(LOOP))
        return time.monotonic_ns() - begun_ns

    def record(self) -> dict[str, object]:
        """Return what this witness recorded, as data that can be written as JSON."""
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
    """Run a witness until SIGTERM or until its time is over.

    The arguments are the number of its CPU and the time in seconds. The line `ready` is written to standard output when
    the usual time of the loop is known. The record follows at the end.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    witness = Witness(int(sys.argv[1]))
    witness.settle()
    print("ready", flush=True)
    witness.watch(float(sys.argv[2]))
    print(json.dumps(witness.record()), flush=True)
