"""Functions that choose CPUs for the load generator.

They also decide whether the generator may spin on its CPU, that is, wait without sleeping.
"""

import os
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def parse(text: str) -> list[int]:
    """Return the numbers in a list of CPUs as the kernel writes it, such as "0,2-3" (cpuset(7), Formats).

    Raises ValueError for another text.
    """
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers:
            raise ValueError(f"{part} is an empty range")
        cpus.update(numbers)
    return sorted(cpus)


def usable() -> list[int]:
    """Return the CPUs on which this process may run."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))


def quota() -> float:
    """Return the least CPU quota of this process's control groups, as a number of CPUs; infinity without a quota."""
    return min((_quota_of(group) for group in own_groups()), default=float("inf"))


def own_groups(listing: Path = OWN_GROUPS, root: Path = CGROUPS) -> list[Path]:
    """Return the directories of the control groups that limit this process's CPU time.

    They are the group of this process, and all groups that contain that group.
    """
    found: list[Path] = []
    try:
        lines = listing.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        hierarchies = [root / controllers, root / "cpu"] if controllers else [root, root / "unified"]
        for hierarchy in hierarchies:
            group = hierarchy / path.strip("/")
            found += [each for each in (group, *group.parents) if each.is_relative_to(hierarchy) and each not in found]
    return [each for each in found if (each / "cpu.stat").is_file()]


def _quota_of(group: Path) -> float:
    """Return the CPU quota of a control group, as a number of CPUs; infinity without a quota.

    The file is cpu.max in version 2 of control groups, and cpu.cfs_quota_us in version 1.
    """
    try:
        quota_text, period_text = (group / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota_text = (group / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period_text = (group / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return float("inf")
    if quota_text in ("max", "-1"):
        return float("inf")
    return int(quota_text) / int(period_text)


def throttled_ns(group: Path) -> int:
    """Return for how many nanoseconds the tasks of a control group could not run because its CPU quota was used up.

    The kernel reports it in the group's file cpu.stat.
    """
    try:
        lines = (group / "cpu.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    values = dict(line.split() for line in lines if len(line.split()) == 2)
    return int(values.get("throttled_time", 0)) + 1000 * int(values.get("throttled_usec", 0))


def go_first() -> None:
    """Raise the priority of this process, if that is allowed, so that other processes do not delay its orders."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def place(wanted: list[int], keep_off: Collection[int], feed_beside: bool = False) -> tuple[list[int], bool]:
    """Restrict this process to the `wanted` CPUs, or to all except `keep_off`. Return its CPUs and whether it may spin.

    To spin is to wait without sleeping. A process that sleeps wakes up 30 to 100 µs late, so the generator spins if it
    can. It may not spin if another process of the measurement needs the same CPU, such as the feed with `feed_beside`.
    It may not spin either if its CPU quota is less than two CPUs. To spin, it takes only the last of the CPUs. Then the
    witness process of this CPU, which detects disturbances, sees those that affect the generator. If no CPU is left,
    the process stays on all CPUs and sleeps.
    """
    mine = usable()
    allowed = set(wanted or mine) & set(mine)
    chosen = sorted(allowed - set(keep_off))
    alone = len(mine) > 1 and len(chosen) > feed_beside and quota() >= 2
    if not chosen:
        return mine, False
    if alone and (wanted or keep_off):
        chosen = chosen[-1:]
    if sys.platform == "linux" and chosen != mine:
        os.sched_setaffinity(0, chosen)
    return chosen, alone
