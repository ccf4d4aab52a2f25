# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that measure the CPU use of a host and its processes, as the difference between two readings of /proc.

The fields are documented in proc(5) and the kernel's Documentation/filesystems/proc.rst. Names of processes are
untrusted bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
# Positions of fields in /proc/PID/stat, counted after the process's name, which may contain blanks and brackets.
_USER_TICKS, _SYSTEM_TICKS, _LAST_CPU = 11, 12, 36
MOST_PROCESSES = 10


@dataclass
class Process:
    """One process at one moment: CPU time in ticks, bytes read and written, its last CPU and its allowed CPUs."""

    name: str
    ticks: int
    bytes_moved: int
    last_cpu: int
    cpus: list[int]


@dataclass
class Look:
    """One reading of /proc: each CPU's ticks for each kind of work (KINDS), and the processes by their ids."""

    cpus: dict[int, list[int]]
    context_switches: int
    runnable: int
    processes: dict[int, Process] = field(default_factory=dict)


def look(proc: Path = Path("/proc")) -> Look:
    """Return one reading of /proc. A process that ends during the reading is left out."""
    found = Look({}, 0, 0)
    for line in (proc / "stat").read_text(encoding="ascii").splitlines():
        name, _blank, numbers = line.partition(" ")
        if name.startswith("cpu") and name != "cpu":
            found.cpus[int(name[3:])] = [int(number) for number in numbers.split()[: len(KINDS)]]
        elif name == "ctxt":
            found.context_switches = int(numbers)
        elif name == "procs_running":
            found.runnable = int(numbers)
    for directory in proc.iterdir():
        if directory.name.isdigit():
            try:
                found.processes[int(directory.name)] = _process(directory)
            except (OSError, ValueError, IndexError):
                continue
    return found


def _process(directory: Path) -> Process:
    text = (directory / "stat").read_bytes()
    name = text[text.index(b"(") + 1 : text.rindex(b")")]
    fields = text[text.rindex(b")") + 2 :].split()
    status = (directory / "status").read_bytes()
    cpus = next(line for line in status.splitlines() if line.startswith(b"Cpus_allowed_list:")).split(b":")[1]
    moved = 0
    try:
        for line in (directory / "io").read_bytes().splitlines():
            if line.startswith((b"read_bytes:", b"write_bytes:")):
                moved += int(line.split(b":")[1])
    except PermissionError:
        moved = 0
    return Process(
        os.fsdecode(name),
        int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS]),
        moved,
        int(fields[_LAST_CPU]),
        numbers_of(cpus.decode("ascii").strip()),
    )


def numbers_of(text: str) -> list[int]:
    """Return the numbers of the CPUs in a kernel CPU list such as "0-2,5"."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _dash, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def difference(before: Look, after: Look, seconds: float, ticks_per_s: int) -> dict[str, Any]:
    """Return how much the CPUs and processes were used between two readings that are `seconds` seconds apart.

    `cpus` has for each CPU the shares (0 to 1) of its time that it spent in each kind of work. `processes` are the
    busiest ones, each with its share of one CPU and its bytes per second.
    """
    cpus = {}
    for cpu, numbers in after.cpus.items():
        spent = [now - then for now, then in zip(numbers, before.cpus.get(cpu, numbers))]
        total = sum(spent) or 1
        cpus[str(cpu)] = {kind: round(ticks / total, 4) for kind, ticks in zip(KINDS, spent)}
    processes: list[dict[str, Any]] = []
    for pid, process in after.processes.items():
        earlier = before.processes.get(pid)
        if earlier is None:
            continue
        share = (process.ticks - earlier.ticks) / ticks_per_s / seconds
        moved = (process.bytes_moved - earlier.bytes_moved) / seconds
        if share > 0 or moved > 0:
            processes.append(
                {
                    "pid": pid,
                    "name": process.name,
                    "cpu": round(share, 3),
                    "bytes_per_s": round(moved),
                    "last_cpu": process.last_cpu,
                    "cpus": process.cpus,
                }
            )
    busiest = sorted(processes, key=lambda each: (-each["cpu"], -each["bytes_per_s"]))
    return {
        "cpus": cpus,
        "context_switches_per_s": round((after.context_switches - before.context_switches) / seconds),
        "runnable": after.runnable,
        "processes": busiest[:MOST_PROCESSES],
    }
