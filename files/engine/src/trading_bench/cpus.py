"""The choice of CPUs for the generator and the witness, and the decision whether the generator may spin there."""

import os
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def parse(text: str) -> list[int]:
    """Return the CPUs of a kernel list such as "0,2-3" (cpuset(7), Formats). Raises ValueError for anything else."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers:
            raise ValueError(f"{part} is an empty range")
        cpus.update(numbers)
    return sorted(cpus)


def usable() -> list[int]:
    """The CPUs that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))


def quota() -> float:
    """Return the CPU quota of this process's control groups, in CPUs; infinity without a limit."""
    return min((_quota_of(group) for group in own_groups()), default=float("inf"))


def own_groups(listing: Path = OWN_GROUPS, root: Path = CGROUPS) -> list[Path]:
    """Return the directories of this process's groups that account for CPU time, and of all above them."""
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
    """Return the limit of cpu.max (control groups version 2) or of cpu.cfs_quota_us (version 1), in CPUs."""
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
    """Return the time, so far, for which its quota has kept a group off its CPUs (cpu.stat)."""
    try:
        lines = (group / "cpu.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    values = dict(line.split() for line in lines if len(line.split()) == 2)
    return int(values.get("throttled_time", 0)) + 1000 * int(values.get("throttled_usec", 0))


def go_first() -> None:
    """Give this process priority on its CPU, where that is allowed: a late generator measures nothing."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def place(wanted: list[int], keep_off: Collection[int], feed_beside: bool = False) -> tuple[list[int], bool]:
    """Move this process to the `wanted` CPUs, or off `keep_off`; return its CPUs and whether it may spin there.

    It may spin if no process of this measurement shares its CPU, and if no quota below two CPUs takes its time away: a
    wake-up alone is 30 to 100 µs late. It then takes one CPU, the last, so that the witness of that CPU sees the same
    disturbances. Where no CPU is left, the process stays where it is and sleeps. On one CPU with the feed that it
    measures it also sleeps.
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
