# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that read a host's hardware topology from /proc and /sys, for the tuning modules."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import cpuset, kernelfs
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.cpu_layout import Cpu
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

CPU_DIRECTORY = "/sys/devices/system/cpu"
CLOCK_DIRECTORY = "/sys/devices/system/clocksource/clocksource0"
DMI_DIRECTORY = "/sys/devices/virtual/dmi/id"


@dataclasses.dataclass(frozen=True)
class Nic:
    """One network card with a hardware device. Bridges, tunnels and loopback have none and do not count."""

    name: str
    driver: str
    queues: int
    numa_node: int


@dataclasses.dataclass(frozen=True)
class Topology:
    """A host's hardware: its CPUs, memory, network cards and more.

    `ec2_type` is empty outside EC2. `governor` is empty on a host without cpufreq. `isolated` are the CPUs that boot
    arguments isolated.
    """

    cpus: list[Cpu]
    smt: bool
    numa_nodes: int
    ram_kib: int
    kernel: str
    boot_arguments: list[str]
    isolated: frozenset[int]
    governor: str
    cpuidle_driver: str
    clock_sources: list[str]
    nics: list[Nic]
    ec2_type: str
    container: bool

    @property
    def near_node(self) -> int | None:
        """The NUMA node of the first network card that has a node, or None when no card has one."""
        return next((nic.numa_node for nic in self.nics if nic.numa_node >= 0), None)


def read(root: Path) -> Topology:
    """Read the topology below a root directory. Raises TuningError when it is not that of a Linux host."""
    cpus = _cpus(root)
    vendor = _text(root, f"{DMI_DIRECTORY}/sys_vendor")
    return Topology(
        cpus=cpus,
        smt=len({cpu.core for cpu in cpus}) < len(cpus),
        numa_nodes=len({cpu.node for cpu in cpus}),
        ram_kib=ram_kib(root),
        kernel=_text(root, "/proc/sys/kernel/osrelease"),
        boot_arguments=_text(root, "/proc/cmdline").split(),
        isolated=cpuset.parse(_text(root, f"{CPU_DIRECTORY}/isolated")),
        governor=_text(root, f"{CPU_DIRECTORY}/cpufreq/policy0/scaling_governor"),
        cpuidle_driver=_text(root, f"{CPU_DIRECTORY}/cpuidle/current_driver"),
        clock_sources=_text(root, f"{CLOCK_DIRECTORY}/available_clocksource").split(),
        nics=read_nics(root),
        ec2_type=_text(root, f"{DMI_DIRECTORY}/product_name") if vendor == "Amazon EC2" else "",
        container=kernelfs.under(root, "/run/systemd/container").exists(),
    )


def _cpus(root: Path) -> list[Cpu]:
    nodes = {
        number: int(path.name[len("node") :])
        for path in kernelfs.under(root, "/sys/devices/system/node").glob("node[0-9]*")
        for number in cpuset.parse(_text(root, f"/sys/devices/system/node/{path.name}/cpulist"))
    }
    cpus = []
    for number in sorted(usable_cpus(root)):
        directory = f"{CPU_DIRECTORY}/cpu{number}/topology"
        package = int(_text(root, f"{directory}/physical_package_id") or 0)
        core = int(_text(root, f"{directory}/core_id") or number)
        cpus.append(Cpu(number, (package, core), nodes.get(number, 0)))
    return cpus


def usable_cpus(root: Path) -> frozenset[int]:
    """Return the online CPUs that this host may use. A container sees all CPUs of its machine, but may use only some.

    The usable CPUs are those that the process with id 1 may use. CPUs that were isolated at boot are usable too,
    although process 1 may not use them. Raises TuningError when the root directory is not that of a Linux host.
    """
    online = cpuset.parse(_required(root, f"{CPU_DIRECTORY}/online"))
    allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)$", _text(root, "/proc/1/status"), re.MULTILINE)
    if not allowed:
        return online
    return online & (cpuset.parse(allowed[1]) | cpuset.parse(_text(root, f"{CPU_DIRECTORY}/isolated")))


def ram_kib(root: Path) -> int:
    """Return the host's memory in KiB. Raises TuningError when the root directory is not that of a Linux host."""
    total = re.search(r"^MemTotal:\s+(\d+) kB", _required(root, "/proc/meminfo"), re.MULTILINE)
    if not total:
        raise TuningError("/proc/meminfo: has no line MemTotal")
    return int(total[1])


def read_nics(root: Path) -> list[Nic]:
    """Return the network cards with a hardware device, sorted by name."""
    nics = []
    for path in sorted(kernelfs.under(root, "/sys/class/net").glob("*")):
        device = path / "device"
        if not device.exists():
            continue
        node = _text(root, f"/sys/class/net/{path.name}/device/numa_node")
        driver = (device / "driver").resolve().name if (device / "driver").exists() else ""
        nics.append(Nic(path.name, driver, len(list(path.glob("queues/rx-*"))), int(node or -1)))
    return nics


def _required(root: Path, path: str) -> str:
    text = _text(root, path)
    if not text:
        raise TuningError(f"{path}: cannot be read; is this a Linux host?")
    return text


def _text(root: Path, path: str) -> str:
    try:
        return kernelfs.under(root, path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
