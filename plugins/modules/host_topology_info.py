#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that reads a host's hardware topology, and divides the host's CPUs among engine and other uses."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_topology_info
short_description: Read CPUs, memory and network cards of a host, and divide its CPUs
version_added: 0.1.0
description:
  - Read the topology from C(/proc) and C(/sys), and return it with the CPU layout for a trading host.
  - Divide the CPUs of a host with two or more. The engine gets the last core, whose SMT siblings stay idle. Telemetry
    gets a separate core on hosts with three or more cores, and housekeeping gets the other CPUs. Each of several
    engines gets a core.
  - Find other services that tune the host, such as tuned, because they override the values in the files of the boot.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  engine_cpus:
    description: The engine's CPUs as a kernel CPU list, for example V(2-3). When empty, they are derived.
    type: str
    default: ""
  engines:
    description:
      - The number of engines that get a core each, on a host with several partitions. With 0 nothing is divided.
      - Fail when the host has too few cores for the engines and one for everything else. The message has the layout.
    type: int
    default: 1
    version_added: 0.2.0
  partitioned:
    description: Say whether the host may have engines of partitions. When false, fail if it has units of such engines.
    type: bool
    default: true
    version_added: 0.2.0
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read the topology
  lowlatency.trading.host_topology_info:
  register: topology
"""

RETURN = r"""
topology:
  description: The host's hardware.
  returned: success
  type: dict
  sample:
    cpus: [0, 1]
    smt: false
    numa_nodes: 1
    ram_kib: 2097152
    kernel: 6.12.40-64.114.amzn2023.aarch64
    boot_arguments: [root=/dev/nvme0n1p1]
    isolated: ""
    governor: ""
    cpuidle_driver: ""
    clock_sources: [arch_sys_counter]
    nics: [{name: ens5, driver: ena, queues: 1, numa_node: -1}]
    ec2_type: c6g.medium
    container: false
layout:
  description:
    - The numbers of the CPUs for each use, and the same as kernel CPU lists. C(engine) is empty when the CPUs are not
      divided.
    - C(engine_cores) has the CPUs of several engines, one list for each core.
  returned: success
  type: dict
  sample:
    housekeeping: [0, 1]
    engine: [3]
    telemetry: [2]
    isolated: [3]
    housekeeping_list: 0-1
    engine_list: "3"
    telemetry_list: "2"
    isolated_list: "3"
    housekeeping_mask: "3"
other_tuners:
  description:
    - Running or enabled services that also set governors and kernel values.
    - C(profile) is the profile of tuned, and empty for other services.
  returned: success
  type: list
  elements: dict
  sample:
    - name: tuned.service
      active: true
      enabled: true
      profile: virtual-guest
stopped_tuners:
  description: The services that the role os_tuning has stopped, with their earlier state.
  returned: success
  type: list
  elements: dict
  sample: []
"""

import dataclasses
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import (
    cpu_layout,
    cpuset,
    other_tuners,
    topology,
)
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError


def observe(root: Path, engine_cpus: str, services: str = "", engines: int = 1) -> dict[str, Any]:
    """Return the module's result for the host whose root directory is `root`: topology, layout and other tuners.

    Other tuners are services such as tuned. `services` is the output of systemctl about them. Raises TuningError when
    the root directory is not that of a Linux host, or its CPUs cannot be divided as wanted.
    """
    host = topology.read(root)
    layout = cpu_layout.divide(host.cpus, engine_cpus, host.near_node, engines)
    numbers = {name: sorted(cpus) for name, cpus in dataclasses.asdict(layout).items()}
    lists = {f"{name}_list": cpuset.render(cpus) for name, cpus in dataclasses.asdict(layout).items()}
    return {
        "changed": False,
        "topology": {
            **dataclasses.asdict(host),
            "cpus": [cpu.number for cpu in host.cpus],
            "isolated": cpuset.render(host.isolated),
        },
        "layout": {
            **numbers,
            **lists,
            **({"engine_cores": cpu_layout.by_core(host.cpus, layout.engine)} if engines > 1 else {}),
            "housekeeping_mask": cpuset.mask(layout.housekeeping),
        },
        **other_tuners.read(root, services),
    }


def refuse_partitions(root: Path) -> None:
    """Raise TuningError when the host has systemd units for engines of partitions."""
    if units := sorted(path.name for path in (root / "etc/systemd/system").glob("trading-engine@*.service")):
        raise TuningError(
            f"this host has {', '.join(units)}, and trading_partitions is empty: name its partitions, or say "
            "trading_partitions_left=remove for one engine in their place"
        )


def services_of(module: AnsibleModule) -> str:
    """Return the output of systemctl about other services that tune the host, such as tuned.

    Return an empty text on a host without systemd.
    """
    try:
        _returned, shown, _errors = outside.run(module, other_tuners.COMMAND, handle_exceptions=False)
    except OSError:
        return ""
    return shown


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "engine_cpus": {"type": "str", "default": ""},
            "engines": {"type": "int", "default": 1},
            "partitioned": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    try:
        if not module.params["partitioned"]:
            refuse_partitions(Path("/"))
        result = observe(Path("/"), module.params["engine_cpus"], services_of(module), module.params["engines"])
    except TuningError as error:
        module.fail_json(msg=outside.printable(str(error)))
    module.exit_json(**outside.printable(result))


if __name__ == "__main__":
    main()
