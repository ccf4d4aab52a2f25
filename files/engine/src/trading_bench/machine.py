"""The observation of a host's CPUs during a run. The result is a record, from which `disturbance` judges the run.

The record contains the marks of the witnesses (`trading_bench.witness`), samples, and the stalls that the engine itself
reports. A stall is a time in which the engine served no client. A sample is taken ten times a second. It has what
witnesses cannot see:

- stolen time,
- waits because of a CPU quota,
- the time of other programs' real-time tasks,
- the time of processes that do not belong to the engine's machine.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trading_engine.published.shm import State, StateError, StateReader

from trading_bench import cpus
from trading_bench.witness import NAME as WITNESS_NAME

SAMPLE_S = 0.1
READY_LIMIT_S = 20.0
END_LIMIT_S = 10.0
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
REAL_TIME_POLICIES = (1, 2, 6)  # SCHED_FIFO, SCHED_RR, SCHED_DEADLINE, sched(7)
LOOK_FOR_TASKS_EVERY = 10  # samples
PF_KTHREAD = 0x00200000  # linux/sched.h
_STALL = "stall of "

Record = dict[str, Any]


class Machine:
    """The observation of some CPUs from `start` to `stop`. Between the two, call `sample` about ten times a second."""

    def __init__(
        self,
        watched: Iterable[int],
        limit_s: float,
        state: Path | None = None,
        outside: "Outside | None" = None,
        generator: int = 0,
    ) -> None:
        self._cpus = sorted(watched)
        self._limit_s = limit_s
        self._reader = StateReader(state) if state else None
        self._outside = outside
        self._generator = generator
        self._witnesses: list[subprocess.Popen[str]] = []
        self._groups = cpus.own_groups()
        self._samples: list[dict[str, int]] = []
        self._stalls: set[tuple[int, int, str]] = set()
        self._tasks: dict[int, str] = {}
        self._ran_ns: dict[int, int] = {}
        self._ran_before_ns = 0  # how long the tasks had run before this process found them
        self._engine_ahead_ns: int | None = None
        self._looks = 0

    def start(self) -> None:
        """Start a witness on each CPU. Return when each witness has measured how long its loop usually takes.

        A witness is a process that detects when its CPU was taken away or slowed. Raises OSError when a witness cannot
        run.
        """
        for cpu in self._cpus:
            # The option -m cannot be used, because it cannot run a compiled module.
            start = "from trading_bench.witness import main; main()"
            command = [sys.executable, "-c", start, str(cpu), str(self._limit_s)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            self._witnesses.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment)
            )
        for cpu, witness in zip(self._cpus, self._witnesses, strict=True):
            if not says_ready(witness, READY_LIMIT_S):
                self.abandon()
                raise OSError(
                    f"CPU {cpu} cannot be watched: this process may not run there, or another real-time task holds it"
                )
        self._last = self._look(every_thread=True)

    def sample(self, every_thread: bool = False) -> None:
        """Take a sample: record by how much each counter has increased since the last sample.

        If no counter has increased, nothing is recorded. With `every_thread`, new real-time tasks are searched for
        among all threads, not only among processes.
        """
        before, self._last = self._last, self._look(every_thread)
        grown = {name: max(self._last[name] - before[name], 0) for name in self._last if name != "at_ns"}
        for name in [name for name in grown if name.startswith("throttled ")]:
            grown["throttled_ns"] = max(grown.get("throttled_ns", 0), grown.pop(name))
        if any(grown.values()):
            self._samples.append({"from_ns": before["at_ns"], "to_ns": self._last["at_ns"], **grown})

    def stop(self) -> Record:
        """End the witnesses and return the record of the observation, which can be written as JSON.

        The times in the record are monotonic.
        """
        self.sample(every_thread=True)
        wall_ahead_ns = time.time_ns() - time.monotonic_ns()
        records = []
        for witness in self._witnesses:
            witness.send_signal(signal.SIGTERM)
        for cpu, witness in zip(self._cpus, self._witnesses, strict=True):
            try:
                out, _err = witness.communicate(timeout=END_LIMIT_S)
                records.append(json.loads(out))
            except (subprocess.TimeoutExpired, ValueError):
                witness.kill()
                records.append(starved(cpu))
        return {
            "engine_ahead_ns": self._engine_ahead_ns,
            "outside_cpus": len(self._outside.cpus) if self._outside else 0,
            "witnesses": records,
            "samples": self._samples,
            "real_time_tasks": sorted(self._tasks.values()),
            "stalls": [[end - wall_ahead_ns, lasted, cause] for end, lasted, cause in sorted(self._stalls)],
        }

    def abandon(self) -> None:
        """Kill the witnesses and make no record."""
        for witness in self._witnesses:
            witness.kill()
            witness.wait()

    def _look(self, every_thread: bool = False) -> dict[str, int]:
        seen = {"at_ns": time.monotonic_ns(), "stolen_ns": stolen_ns(self._cpus)}
        seen |= {f"throttled {group}": cpus.throttled_ns(group) for group in self._groups}
        if every_thread or self._looks % LOOK_FOR_TASKS_EVERY == 0:
            self._look_for_tasks(every_thread)
            self._take_engine()
        self._looks += 1
        for task in self._tasks:
            self._ran_ns[task] = max(self._ran_ns[task], ran_ns(task))
        seen["real_time_ns"] = sum(self._ran_ns.values()) - self._ran_before_ns
        if self._outside:
            seen["outside_ns"] = self._outside.busy_ns()
        if self._generator:
            seen["waited_ns"] = waited_ns(self._generator) - self._witnesses_beside_ns()
        return seen

    def _witnesses_beside_ns(self) -> int:
        """Return for how many nanoseconds the witnesses have run on the load generator's CPUs.

        This time is subtracted from the generator's wait for a CPU, because the witnesses are part of the measurement.
        """
        try:
            beside = os.sched_getaffinity(self._generator)
        except OSError:
            return 0
        return sum(
            ran_ns(witness.pid) for cpu, witness in zip(self._cpus, self._witnesses, strict=True) if cpu in beside
        )

    def _look_for_tasks(self, every_thread: bool) -> None:
        for task in real_time_tasks(self._cpus, every_thread):
            if task not in self._tasks:
                self._tasks[task] = f"{name_of(task)} ({task})"
                self._ran_ns[task] = ran_ns(task)
                self._ran_before_ns += self._ran_ns[task]

    def _take_engine(self) -> None:
        if self._reader is None:
            return
        with suppress(StateError):
            state = self._reader.read()
            wall_ahead_ns = time.time_ns() - time.monotonic_ns()
            self._engine_ahead_ns = state.gauges["engine_time_ns"] - state.published_ns + wall_ahead_ns
            self._stalls.update(stalls_of(state))


def says_ready(child: "subprocess.Popen[str]", limit_s: float) -> bool:
    """Return whether a child process writes the line `ready` within `limit_s` seconds, and before it ends."""
    assert child.stdout is not None
    readable, _, _ = select.select([child.stdout], [], [], limit_s)
    return bool(readable) and child.stdout.readline() == "ready\n"


def starved(cpu: int) -> Record:
    """Return a record for a witness that did not write one, because it got no CPU time."""
    why = "another real-time task held the CPU to the end"
    figures = dict.fromkeys(("quiet_loop_ns", "loaded_loop_ns", "milliseconds", "cpu_ns"), 0)
    return {"cpu": cpu, "refused": why, **figures, "marks": []}


@dataclass(frozen=True)
class Outside:
    """The CPU time that others used on CPUs reserved for the engine's machine, or for the engine's process.

    The machine may be a container or a virtual machine, which has a control group of this host. `own_ns` returns for
    how long the machine or process has run on these CPUs. `everybody_ns` returns for how long all tasks have run there.
    """

    cpus: list[int]
    own_ns: Callable[[], int]
    everybody_ns: Callable[[], int]

    def busy_ns(self) -> int:
        return self.everybody_ns() - self.own_ns()

    @classmethod
    def of_group(cls, name: str) -> "Outside | None":
        """Return the object for the machine with this control group, or None if the kernel does not report the times.

        Raises OSError if there is no such group.
        """
        percpu, unified, held = find_group(name)
        if percpu:
            return cls(held, lambda: _usage_ns(percpu, held), lambda: _usage_ns(percpu.parent, held))
        if unified and _run_times(held) is not None:
            return cls(held, lambda: _unified_usage_ns(unified), lambda: _run_times(held) or 0)
        return None

    @classmethod
    def of_process(cls, process: int) -> "Outside | None":
        """Return the object for a process with reserved CPUs, or None if the kernel does not report the times."""
        try:
            held = sorted(os.sched_getaffinity(process))
        except OSError:
            return None
        root = cpus.CGROUPS / "cpuacct"
        if (root / "cpuacct.usage_percpu").is_file():
            return cls(held, lambda: ran_ns(process), lambda: _usage_ns(root, held))
        if _run_times(held) is not None:
            return cls(held, lambda: ran_ns(process), lambda: _run_times(held) or 0)
        return None


def find_group(name: str, root: Path = cpus.CGROUPS) -> tuple[Path | None, Path | None, list[int]]:
    """Return the directories of the control group `name`, and the CPUs of the machine that it contains.

    The first directory is in version 1 of control groups, and has the usage of each CPU. The second is in version 2.
    Each is None if it does not exist. Raises OSError if there is no such group on this host.
    """
    for sets in (root / "cpuset", root, root / "system.slice"):
        for leaf in (name, f"{name}.scope"):
            held = sets / leaf / "cpuset.cpus"
            if held.is_file():
                percpu = root / "cpuacct" / name
                unified = held.parent if (held.parent / "cpu.stat").is_file() else None
                chosen = held.read_text(encoding="ascii").strip()
                listed = cpus.parse(chosen) if chosen else cpus.usable()
                return (percpu if (percpu / "cpuacct.usage_percpu").is_file() else None), unified, listed
    raise OSError(f"no control group {name!r} holds a machine's CPUs on this one")


def _usage_ns(group: Path, held: list[int]) -> int:
    used = (group / "cpuacct.usage_percpu").read_text(encoding="ascii").split()
    return sum(int(used[cpu]) for cpu in held)


def _unified_usage_ns(group: Path) -> int:
    lines = (group / "cpu.stat").read_text(encoding="ascii").splitlines()
    return 1000 * int(dict(line.split() for line in lines)["usage_usec"])


def _run_times(held: list[int], schedstat: Path = Path("/proc/schedstat")) -> int | None:
    """Return for how many nanoseconds tasks have run on these CPUs, or None if the kernel does not report it.

    The value is field 7 of /proc/schedstat (the kernel's sched-stats.rst). The ticks in /proc/stat are too coarse for
    samples of a tenth of a second.
    """
    try:
        lines = schedstat.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = {words[0]: int(words[7]) for line in lines if (words := line.split())[0].startswith("cpu")}
    return sum(found[f"cpu{cpu}"] for cpu in held)


def _cpu_lines() -> dict[int, list[int]]:
    found = {}
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        if line.startswith("cpu") and line[3].isdigit():
            number, *ticks = line[3:].split()
            found[int(number)] = [int(each) for each in ticks]
    return found


def stolen_ns(watched: Iterable[int]) -> int:
    """Return how many nanoseconds the hypervisor has taken from these CPUs, as /proc/stat reports it (proc_stat(5)).

    The number is a multiple of TICK_NS. Many hypervisors report none.
    """
    try:
        lines = _cpu_lines()
    except OSError:
        return 0
    return TICK_NS * sum(lines[cpu][7] for cpu in watched if cpu in lines)


def real_time_tasks(watched: Iterable[int], every_thread: bool = False) -> list[int]:
    """Return the ids of processes with a real-time priority that may run on these CPUs.

    With `every_thread` return the ids of all such threads instead. Kernel threads (migration, watchdog) and witnesses
    are left out.
    """
    wanted, found = set(watched), []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{name}/task") if every_thread else [name]:
                if _is_real_time(int(thread), wanted):
                    found.append(int(thread))
    return found


def _is_real_time(task: int, wanted: set[int]) -> bool:
    try:
        if os.sched_getscheduler(task) & 0xFF not in REAL_TIME_POLICIES or not wanted & os.sched_getaffinity(task):
            return False
        flags = int(Path(f"/proc/{task}/stat").read_bytes().rsplit(b")", 1)[1].split()[6])
    except (OSError, ValueError, IndexError):
        return False
    return not flags & PF_KTHREAD and name_of(task) != WITNESS_NAME


def ran_ns(task: int) -> int:
    """Return for how many nanoseconds a process or thread has run until now, or 0 if it has ended."""
    return _scheduled_ns(task, 0)


def waited_ns(task: int) -> int:
    """Return for how many nanoseconds a process or thread has waited for a CPU, or 0 if it has ended.

    Only the time in which it was ready to run counts.
    """
    return _scheduled_ns(task, 1)


def _scheduled_ns(task: int, field: int) -> int:
    try:
        return int(Path(f"/proc/{task}/schedstat").read_bytes().split()[field])
    except (OSError, IndexError, ValueError):
        return 0


def name_of(task: int) -> str:
    try:
        return Path(f"/proc/{task}/comm").read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        return "?"


def stalls_of(state: State) -> list[tuple[int, int, str]]:
    """Return the stalls among the engine's events. A stall is a time in which the engine served no client.

    Each is (end as Unix time in ns, length in ns, cause).
    """
    found = []
    for event in state.events:
        if event.text.startswith(_STALL):
            with suppress(ValueError):
                milliseconds, _ms, cause = event.text.removeprefix(_STALL).split(" ", 2)
                found.append((event.time_ns, int(float(milliseconds) * 1e6), cause))
    return found
