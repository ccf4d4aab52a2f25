"""Functions that give a machine its own control groups and exactly as many CPUs as its instance type has.

A machine's systemd treats the control group in which it starts as the root of all its groups. So no two machines may
share a control group.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from embedded_ec2.ledger import Ledger

CGROUPS = Path("/sys/fs/cgroup")
# With these weights a machine gets nearly all time of its CPUs. Other programs there get only the time that it leaves.
WEIGHT = 10_000  # for control groups version 2; the default is 100
SHARES = 262_144  # for control groups version 1; the default is 1024
# In control groups version 1 a group's processes can have real-time priority only if the group has a share of real-time
# scheduling. All shares together are at most 950 ms in each second.
REAL_TIME_US = 300_000


VERSION_1 = ("systemd", "unified", "cpuset", "cpu", "cpuacct")


def choose_cpus(count: int, in_use: list[frozenset[int]], available: frozenset[int], slot: int = 0) -> frozenset[int]:
    """Return the CPUs for a machine of `count` vCPUs: those that the fewest machines use.

    Of equal ones those with the highest numbers are chosen. CPU 0 comes last because it serves most interrupts. The
    CPUs that machines of other sandboxes use are unknown here, so the n-th sandbox begins n CPUs lower. When `count`
    exceeds the number of CPUs of this computer, all CPUs are returned.
    """
    highest_first = sorted(available, reverse=True)
    start = slot % len(highest_first)
    order = highest_first[start:] + highest_first[:start]
    load = {cpu: sum(cpu in cpus for cpus in in_use) for cpu in order}
    return frozenset(sorted(order, key=load.__getitem__)[:count])


def render_cpus(cpus: frozenset[int]) -> str:
    return ",".join(map(str, sorted(cpus)))


@dataclass(frozen=True)
class Confinement:
    """How to start a machine so that its CPUs are limited.

    It has words to put before the machine's command, and the name of the mechanism that limits the CPUs.
    """

    prefix: list[str]
    held_by: str


def confine(instance_id: str, cpus: frozenset[int], ledger: Ledger) -> Confinement:
    """Prepare the control groups of a sandbox machine.

    The systemd of the computer on which the sandbox runs makes the groups. On a computer without systemd, they are made
    directly in the cgroup file system.
    """
    if Path("/run/systemd/system").is_dir():
        return _systemd_scope(instance_id, cpus, ledger)
    return _own_cgroups(instance_id, cpus, ledger)


def _group_name(instance_id: str) -> str:
    return f"embedded-ec2-{instance_id}"


def _systemd_scope(instance_id: str, cpus: frozenset[int], ledger: Ledger) -> Confinement:
    """Return the words before a command that start a machine in a delegated scope of this computer's systemd.

    The scope ends with its last process.
    """
    unit = f"{_group_name(instance_id)}.scope"
    ledger.add("scope", unit)
    prefix = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={unit}"]
    prefix += ["-p", "Delegate=yes", "-p", f"AllowedCPUs={render_cpus(cpus)}", "-p", f"CPUWeight={WEIGHT}"]
    if (CGROUPS / "cgroup.controllers").exists():
        return Confinement(prefix, "systemd scope, AllowedCPUs")
    # AllowedCPUs works only with control groups version 2.
    return Confinement([*prefix, *_taskset(cpus)], "CPU affinity")


def _own_cgroups(instance_id: str, cpus: frozenset[int], ledger: Ledger) -> Confinement:
    unified = (CGROUPS / "cgroup.controllers").exists()
    hierarchies = [CGROUPS] if unified else [CGROUPS / name for name in VERSION_1]
    groups = [hierarchy / _group_name(instance_id) for hierarchy in hierarchies if hierarchy.is_dir()]
    held = False
    for group in groups:
        ledger.add("cgroup", str(group))
        group.mkdir(exist_ok=True)
        if unified or group.parent.name == "cpuset":
            held = _set_cpuset(group, cpus)
        if (unified or group.parent.name == "cpu") and not _set_weight(group) and not unified:
            # A group without a share of real-time scheduling would prevent real-time priority in the machine. So leave
            # it out, also under its second name (cpuacct).
            groups = [each for each in groups if not (each.exists() and each.samefile(group))]
    joins = "; ".join(f'echo $$ > "{group}/cgroup.procs"' for group in groups)
    prefix = ["/bin/sh", "-ec", f'{joins}; exec "$@"', "sh"]
    if held:
        return Confinement(prefix, "cpuset")
    return Confinement([*prefix, *_taskset(cpus)], "CPU affinity")


def _set_cpuset(group: Path, cpus: frozenset[int]) -> bool:
    """Limit a control group to some CPUs. Return False when the cpuset controller is not available."""
    try:
        if (CGROUPS / "cgroup.controllers").exists():
            (CGROUPS / "cgroup.subtree_control").write_text("+cpuset")
        else:
            # A new group of version 1 has no memory nodes, so copy those of its parent.
            (group / "cpuset.mems").write_text((group.parent / "cpuset.mems").read_text())
        (group / "cpuset.cpus").write_text(render_cpus(cpus))
    except OSError:
        return False
    return True


def _set_weight(group: Path) -> bool:
    """Give a control group the highest weight. Return False when that fails or would prevent real-time priority."""
    try:
        if (CGROUPS / "cgroup.controllers").exists():
            (CGROUPS / "cgroup.subtree_control").write_text("+cpu")
            (group / "cpu.weight").write_text(str(WEIGHT))
        else:
            if (group / "cpu.rt_runtime_us").exists():
                (group / "cpu.rt_runtime_us").write_text(str(REAL_TIME_US))
            (group / "cpu.shares").write_text(str(SHARES))
    except OSError:
        return False
    return True


def release(instance_id: str, ledger: Ledger) -> None:
    """Remove the control groups that `confine` prepared, and kill every process still in them."""
    name = _group_name(instance_id)
    for kind, identity in ledger.entries():
        if kind in ("cgroup", "scope") and Path(identity).name in (name, f"{name}.scope"):
            ledger.undo(kind, identity)


def _taskset(cpus: frozenset[int]) -> list[str]:
    return ["taskset", "--cpu-list", render_cpus(cpus)]


def available_cpus() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0))
