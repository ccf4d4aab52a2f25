#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that sets the CPU frequency governor on hosts whose kernel has one."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cpu_governor
short_description: Set the CPU frequency governor where the kernel offers one
version_added: 0.1.0
description:
  - Set the governor of every cpufreq policy, and write a file that sets it again at each boot.
  - Report V(not_applicable) and change nothing on a host without cpufreq, such as most EC2 instances.
  - Record each policy's original governor in C(/var/lib/os-tuning/cpu_governor.json). O(state=absent) restores it.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  governor:
    description: The name of the governor.
    type: str
    default: performance
  state:
    description: Set the governor (V(present)), or restore the original one (V(absent)).
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Restore the governor with O(state=absent) even if somebody else has changed it after this module.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Report what would be set.
  diff_mode:
    support: full
    description: Show each policy before and after, and the boot file.
"""

EXAMPLES = r"""
- name: Run the CPUs at full speed
  lowlatency.trading.cpu_governor:

- name: Govern the CPUs as before
  lowlatency.trading.cpu_governor:
    state: absent
"""

RETURN = r"""
knobs:
  description: One entry, named V(cpu_governor), as in M(lowlatency.trading.kernel_tunables).
  returned: always
  type: list
  elements: dict
  sample:
    - name: cpu_governor
      status: not_applicable
      value: performance
      before: ""
      previous: ""
      reason: this host has no cpufreq
      overridden_by: ""
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import boot_files, kernelfs
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.converge import converge
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.settings import Outcome, Setting, summary

CPUFREQ = "/sys/devices/system/cpu/cpufreq"
TMPFILES_FILE = "/etc/tmpfiles.d/os-tuning-governor.conf"


def observe(root: Path) -> list[str]:
    """Return the names of the cpufreq policies of the host whose root directory is `root`.

    A policy is a group of CPUs with a common frequency governor.
    """
    return sorted(path.name for path in kernelfs.under(root, CPUFREQ).glob("policy*"))


def plan(policies: list[str], governor: str) -> list[Setting]:
    """Return one setting for each policy. Raises TuningError for a text that cannot be a governor's name."""
    if not re.fullmatch(r"[a-z_]+", governor):
        raise TuningError(f"governor '{governor}' is not a name such as performance")
    return [Setting(name, f"{CPUFREQ}/{name}/scaling_governor", governor) for name in policies]


def run(root: Path, governor: str, present: bool, check: bool, force: bool = False) -> dict[str, Any]:
    """Set or restore the governor on the host whose root directory is `root`; return the module's result.

    Raises TuningError when the governor's name is invalid, or a file cannot be read or written.
    """
    policies = observe(root)
    wanted = plan(policies, governor)

    def boot_texts(held: dict[str, str]) -> dict[str, str]:
        lines = {f"{CPUFREQ}/policy*/scaling_governor": governor} if held else {}
        return {TMPFILES_FILE: boot_files.tmpfiles_text(lines)}

    result = converge(root, kernelfs.Files(root), "cpu_governor", wanted if present else [], boot_texts, check, force)
    outcomes = result.outcomes
    if present and not policies:
        outcomes = [Outcome("", "not_applicable", governor, reason="this host has no cpufreq")]
    return {"changed": result.changed, "diff": result.diff, "knobs": summary("cpu_governor", outcomes)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "governor": {"type": "str", "default": "performance"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        result = run(Path("/"), wanted["governor"], wanted["state"] == "present", module.check_mode, wanted["force"])
    except TuningError as error:
        module.fail_json(msg=outside.printable(str(error)))
    module.exit_json(**outside.printable(result))


if __name__ == "__main__":
    main()
