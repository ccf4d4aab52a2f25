#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that sets kernel values in /proc/sys and /sys, and restores the original ones."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kernel_tunables
short_description: Set kernel values in /proc/sys and /sys, and restore the original ones
version_added: 0.1.0
description:
  - Set the listed values in the running kernel, and write them to one C(sysctl.d) and one C(tmpfiles.d) file for the
    next boot.
  - Compare with the value in the running kernel, not with files.
  - Record each value in C(/var/lib/os-tuning/kernel_tunables.json) before this module first changes it. Restore it when
    it is no longer listed. An empty list restores all values.
  - Report a value that the kernel refuses. It does not fail the task.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  tunables:
    description:
      - Every wanted value. If two entries have the same name, the later one counts.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: A sysctl key, such as V(vm.swappiness), or a path below C(/sys).
        type: str
        required: true
      value:
        description: The wanted value. Exclusive with O(tunables[].percent_of_ram).
        type: str
      only_raise:
        description: Leave a number that is already higher.
        type: bool
        default: false
      percent_of_ram:
        description: Derive the value from the memory of the host, rounded down to whole MiB.
        type: float
      unit:
        description: The unit in which the kernel expects a value derived from memory.
        type: str
        choices: [bytes, kibibytes]
        default: bytes
      minimum_mib:
        description: The lower bound in MiB of a value derived from memory.
        type: int
      maximum_mib:
        description: The upper bound in MiB of a value derived from memory.
        type: int
      min_cpus:
        description: Do not set the value on a host with fewer online CPUs.
        type: int
        default: 1
  veto:
    description: The names of values that are not set, even if O(tunables) has them.
    type: list
    elements: str
    default: []
  never:
    description: The values that are never set, even if O(tunables) has them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name, or a shell pattern of names.
        type: str
        required: true
      value:
        description: Refuse only this value. Without it every value is refused.
        type: str
      reason:
        description: The reason, which is reported.
        type: str
        required: true
  force:
    description: Restore also values that somebody else has changed after this module.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description:
      - Report what would be set.
      - A refusal by the kernel is predicted when the value's file cannot be written, or when an earlier run was
        refused.
  diff_mode:
    support: full
    description: Show each value before and after, and the two files.
"""

EXAMPLES = r"""
- name: Swap rarely, and allow big sockets
  lowlatency.trading.kernel_tunables:
    tunables:
      - name: vm.swappiness
        value: "10"
      - name: net.core.rmem_max
        value: "16777216"
        only_raise: true
      - name: vm.min_free_kbytes
        percent_of_ram: 2
        unit: kibibytes
        minimum_mib: 64
        maximum_mib: 1024
      - name: /sys/kernel/mm/transparent_hugepage/enabled
        value: madvise

- name: Bring back everything as it was before
  lowlatency.trading.kernel_tunables:
    tunables: []
"""

RETURN = r"""
knobs:
  description: One entry for each listed or formerly listed value.
  returned: always
  type: list
  elements: dict
  sample:
    - name: vm.swappiness
      status: applied
      value: "10"
      before: "60"
      previous: "60"
      reason: ""
      overridden_by: ""
  contains:
    name:
      description: Name as listed.
      type: str
      returned: always
    status:
      description: One of V(applied), V(already), V(not_applicable), V(no_op), V(refused), V(restored), V(kept).
      type: str
      returned: always
    value:
      description: The wanted value, or the value that the kernel made of it.
      type: str
      returned: always
    before:
      description: The value in the running kernel that this run found.
      type: str
      returned: always
    previous:
      description: The value before this module first changed it.
      type: str
      returned: always
    reason:
      description: The reason for the status, if there is a special one.
      type: str
      returned: always
    overridden_by:
      description: The later sysctl.d file that sets another value at boot.
      type: str
      returned: always
"""

import dataclasses
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import boot_files, kernelfs
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.converge import converge
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.settings import Outcome, Setting
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.tunables import Host, gate

TMPFILES_FILE = "/etc/tmpfiles.d/os-tuning.conf"


@dataclasses.dataclass(frozen=True)
class Request:
    """The module's parameters."""

    tunables: list[dict[str, Any]]
    veto: list[str]
    never: list[dict[str, Any]]
    force: bool


def observe(root: Path) -> Host:
    """Return the facts on which conditions depend: CPUs and memory of the host whose root directory is `root`."""
    return Host.of(root)


def plan(request: Request, host: Host) -> tuple[list[Setting], list[Outcome]]:
    """Return the settings to apply to the host, and the outcomes of tunables that are not applied.

    Raises TuningError for an invalid tunable.
    """
    return gate(request.tunables, request.veto, request.never, host)


def run(root: Path, request: Request, check: bool) -> dict[str, Any]:
    """Apply the request to the host whose root directory is `root`; return the module's result.

    Raises TuningError for an invalid tunable, or when a file cannot be read or written.
    """
    wanted, gated = plan(request, observe(root))
    later = boot_files.later_assignments(root)
    result = converge(root, kernelfs.Files(root), "kernel_tunables", wanted, boot_texts, check, request.force)
    overridden = boot_files.overriding(later, sysctls(result.held))
    outcomes = sorted([*result.outcomes, *gated], key=lambda outcome: outcome.name)
    return {
        "changed": result.changed,
        "diff": result.diff,
        "knobs": [
            {**dataclasses.asdict(outcome), "overridden_by": overridden.get(outcome.name, "")} for outcome in outcomes
        ],
    }


def sysctls(values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if not name.startswith("/")}


def boot_texts(held: dict[str, str]) -> dict[str, str]:
    """Return a dictionary: path of a boot file → its text.

    A boot file sets kernel values at each boot. The texts are for the values that must apply after a boot.
    """
    below_sys = {name: value for name, value in held.items() if name.startswith("/")}
    return {
        boot_files.SYSCTL_FILE: boot_files.sysctl_text(sysctls(held)),
        TMPFILES_FILE: boot_files.tmpfiles_text(below_sys),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "tunables": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "value": {"type": "str"},
                    "only_raise": {"type": "bool", "default": False},
                    "percent_of_ram": {"type": "float"},
                    "unit": {"type": "str", "choices": ["bytes", "kibibytes"], "default": "bytes"},
                    "minimum_mib": {"type": "int"},
                    "maximum_mib": {"type": "int"},
                    "min_cpus": {"type": "int", "default": 1},
                },
                "mutually_exclusive": [["value", "percent_of_ram"]],
                "required_one_of": [["value", "percent_of_ram"]],
            },
            "veto": {"type": "list", "elements": "str", "default": []},
            "never": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "value": {"type": "str"},
                    "reason": {"type": "str", "required": True},
                },
            },
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        result = run(Path("/"), Request(**module.params), module.check_mode)
    except TuningError as error:
        module.fail_json(msg=outside.printable(str(error)))
    module.exit_json(**outside.printable(result))


if __name__ == "__main__":
    main()
