# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that divide a host's CPUs among engine, telemetry and housekeeping.

Housekeeping is everything else that runs on the host.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import cpuset
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError


@dataclasses.dataclass(frozen=True)
class Cpu:
    """One online CPU. `core` is (package, core id), the same for all threads of a core. `node` is its NUMA node."""

    number: int
    core: tuple[int, int]
    node: int


@dataclasses.dataclass(frozen=True)
class Layout:
    """The CPUs for each use: engine, telemetry and housekeeping.

    `engine` is empty when no CPU is reserved for the engine. `isolated` has the engine's CPUs and the idle SMT siblings
    of these CPUs. It is empty when the engine shares a core with housekeeping. `housekeeping` is never empty.
    """

    housekeeping: frozenset[int]
    engine: frozenset[int]
    telemetry: frozenset[int]
    isolated: frozenset[int]


def divide(cpus: list[Cpu], engine_cpus: str = "", near_node: int | None = None, engines: int = 1) -> Layout:
    """Return the layout of a host with the given online CPUs.

    `engine_cpus` is the user's own kernel CPU list for the engines. When it is empty, the engine gets a CPU of the last
    core on `near_node`, the NUMA node of the network card. If the network card has no node, the engine gets a CPU of
    the host's last core. Each of several engines gets a core of its own. With 0 engines no CPU is for an engine. Raises
    TuningError for CPUs that this host lacks, and when the host has too few cores for the engines.
    """
    online = frozenset(cpu.number for cpu in cpus)
    engine = _chosen(engine_cpus, online) if engine_cpus else _derived(cpus, near_node)
    if engines == 0:
        engine = frozenset()
    if engines > 1:
        engine = _for_each(engines, cpus, engine_cpus, engine, near_node)
    if not engine:
        return Layout(online, frozenset(), online, frozenset())
    engine_cores = {cpu.core for cpu in cpus if cpu.number in engine}
    on_engine_cores = frozenset(cpu.number for cpu in cpus if cpu.core in engine_cores)
    if on_engine_cores == online:  # one core: its threads are divided, but none is isolated
        return Layout(online - engine, engine, online - engine, frozenset())
    others = online - on_engine_cores
    telemetry = _telemetry(cpus, others, engine)
    return Layout(others - telemetry or others, engine, telemetry, on_engine_cores)


def _chosen(text: str, online: frozenset[int]) -> frozenset[int]:
    try:
        engine = cpuset.parse(text)
    except ValueError as error:
        raise TuningError(f"engine CPUs '{text}': {error}") from error
    if not engine <= online:
        missing = cpuset.render(engine - online)
        raise TuningError(f"engine CPUs '{text}': this host has no CPU {missing}; online are {cpuset.render(online)}")
    if engine == online and len(online) > 1:
        raise TuningError(f"engine CPUs '{text}': that is every CPU of this host; leave one for housekeeping")
    return engine if len(online) > 1 else frozenset()


def _derived(cpus: list[Cpu], near_node: int | None) -> frozenset[int]:
    if len(cpus) < 2:
        return frozenset()
    near = [cpu for cpu in cpus if cpu.node == near_node] or cpus
    last_core = max(near, key=lambda cpu: cpu.number).core
    return frozenset(
        {min(cpu.number for cpu in near if cpu.core == last_core)} if _cores(cpus) > 1 else {near[-1].number}
    )


def _for_each(
    engines: int, cpus: list[Cpu], engine_cpus: str, chosen: frozenset[int], near_node: int | None
) -> frozenset[int]:
    """Return the CPUs of several engines: those that the user chose, or one CPU of a separate core for each engine.

    Raises TuningError when there are too few cores.
    """
    if engine_cpus:
        if (given := len(by_core(cpus, chosen))) < engines:
            raise TuningError(
                f"{engines} partitions need a core each, and the engine CPUs '{engine_cpus}' have {given}"
            )
        return chosen
    if _cores(cpus) <= engines:
        layout = divide(cpus, near_node=near_node)
        parts = {"engine": layout.engine, "telemetry": layout.telemetry, "housekeeping": layout.housekeeping}
        shown = ", ".join(f"{name} {cpuset.render(numbers) or 'none'}" for name, numbers in parts.items())
        raise TuningError(
            f"{engines} partitions need a core each and one for everything else, and this host has {_cores(cpus)} "
            f"(its CPU layout for one engine: {shown}); have fewer partitions here, more vCPUs, or pinned: false"
        )
    first_core = min(cpus, key=lambda cpu: cpu.number).core  # the core of CPU 0, which the kernel itself prefers
    near = [cpu for cpu in cpus if cpu.node == near_node]
    cores: list[tuple[int, int]] = [first_core]
    for cpu in sorted(cpus, key=lambda cpu: (cpu in near, cpu.number), reverse=True):
        if cpu.core not in cores:
            cores.append(cpu.core)
    return frozenset(min(cpu.number for cpu in cpus if cpu.core == core) for core in cores[1 : engines + 1])


def by_core(cpus: list[Cpu], chosen: frozenset[int]) -> list[list[int]]:
    """Return the chosen CPUs grouped by physical core: one list of CPU numbers for each core."""
    cores: dict[tuple[int, int], list[int]] = {}
    for cpu in sorted(cpus, key=lambda cpu: cpu.number):
        if cpu.number in chosen:
            cores.setdefault(cpu.core, []).append(cpu.number)
    return list(cores.values())


def _cores(cpus: list[Cpu]) -> int:
    return len({cpu.core for cpu in cpus})


def _telemetry(cpus: list[Cpu], others: frozenset[int], engine: frozenset[int]) -> frozenset[int]:
    """Return the CPUs for telemetry: those of a core near the engine, if another core remains for housekeeping.

    Otherwise return all CPUs that are not the engine's. Telemetry then shares these CPUs with housekeeping.
    """
    candidates = [cpu for cpu in cpus if cpu.number in others]
    if _cores(candidates) < 2:
        return others
    engine_nodes = {cpu.node for cpu in cpus if cpu.number in engine}
    first_core = min(candidates, key=lambda cpu: cpu.number).core  # the core of CPU 0, which the kernel itself prefers
    free = [cpu for cpu in candidates if cpu.core != first_core]
    near = [cpu for cpu in free if cpu.node in engine_nodes] or free
    core = max(near, key=lambda cpu: cpu.number).core
    return frozenset(cpu.number for cpu in candidates if cpu.core == core)
