"""Gives a machine its own control groups and exactly as many CPUs as its instance type has.

A machine's systemd takes the control group it is started in for the root of its own, so no two machines may share one.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from embedded_ec2.ledger import Ledger

CGROUPS = Path("/sys/fs/cgroup")
PARENT = "embedded-ec2"


def choose_cpus(count: int, in_use: list[frozenset[int]], available: frozenset[int]) -> frozenset[int]:
    """Return the CPUs for a machine of `count` vCPUs: those with the fewest machines, the highest number first.

    Number 0 comes last because it serves most of a machine's interrupts. A type with more vCPUs than there are here
    gets them all.
    """
    load = {cpu: sum(cpu in cpus for cpus in in_use) for cpu in available}
    return frozenset(sorted(available, key=lambda cpu: (load[cpu], -cpu))[:count])


def render_cpus(cpus: frozenset[int]) -> str:
    return ",".join(map(str, sorted(cpus)))


@dataclass(frozen=True)
class Confinement:
    """How to start a machine: the words before its command, and how its CPUs are held."""

    prefix: list[str]
    held_by: str


def confine(instance_id: str, cpus: frozenset[int], ledger: Ledger) -> Confinement:
    """Prepare a machine's control groups, by whoever manages them here."""
    if Path("/run/systemd/system").is_dir():
        return _systemd_scope(instance_id, cpus)
    return _own_cgroups(instance_id, cpus, ledger)


def _systemd_scope(instance_id: str, cpus: frozenset[int]) -> Confinement:
    """Ask this machine's systemd for a delegated scope; it goes away with the last process in it."""
    prefix = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={PARENT}-{instance_id}"]
    prefix += ["-p", "Delegate=yes", "-p", f"AllowedCPUs={render_cpus(cpus)}"]
    if (CGROUPS / "cgroup.controllers").exists():
        return Confinement(prefix, "systemd scope, AllowedCPUs")
    # AllowedCPUs needs the unified hierarchy.
    return Confinement([*prefix, *_taskset(cpus)], "CPU affinity")


def _own_cgroups(instance_id: str, cpus: frozenset[int], ledger: Ledger) -> Confinement:
    unified = (CGROUPS / "cgroup.controllers").exists()
    hierarchies = [CGROUPS] if unified else [CGROUPS / name for name in ("systemd", "unified", "cpuset")]
    groups = [hierarchy / PARENT / instance_id for hierarchy in hierarchies if hierarchy.is_dir()]
    held = False
    for group in groups:
        ledger.add("directory", str(group.parent))
        ledger.add("cgroup", str(group))
        group.mkdir(parents=True, exist_ok=True)
        if unified or group.parts[-3] == "cpuset":
            held = _set_cpuset(group, cpus)
    joins = "; ".join(f'echo $$ > "{group}/cgroup.procs"' for group in groups)
    prefix = ["/bin/sh", "-ec", f'{joins}; exec "$@"', "sh"]
    if held:
        return Confinement(prefix, "cpuset")
    return Confinement([*prefix, *_taskset(cpus)], "CPU affinity")


def _set_cpuset(group: Path, cpus: frozenset[int]) -> bool:
    """Limit a control group to some CPUs; False where the cpuset controller cannot be had."""
    try:
        if (CGROUPS / "cgroup.controllers").exists():
            for ancestor in (group.parent.parent, group.parent):
                (ancestor / "cgroup.subtree_control").write_text("+cpuset")
        else:
            # A version 1 group has no CPUs and no memory nodes until it is given some.
            for level in (group.parent, group):
                for name in ("cpuset.mems", "cpuset.cpus"):
                    (level / name).write_text((level.parent / name).read_text())
        (group / "cpuset.cpus").write_text(render_cpus(cpus))
    except OSError:
        return False
    return True


def _taskset(cpus: frozenset[int]) -> list[str]:
    return ["taskset", "--cpu-list", render_cpus(cpus)]


def available_cpus() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0))
