#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that sets which CPUs serve interrupts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: irq_affinity
short_description: Serve interrupts on the housekeeping CPUs
version_added: 0.1.0
description:
  - Remove every CPU that is not a housekeeping CPU from the list of each interrupt, and from the default for new ones.
  - Ban these CPUs from irqbalance, if it is installed, by a drop-in of its unit. The service itself stays enabled.
  - Report interrupts that belong to one CPU, such as a timer's, as refused by the kernel.
  - Record the original lists in C(/var/lib/os-tuning/irq_affinity.json). O(state=absent) restores them.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  housekeeping:
    description: The CPUs that serve interrupts, as a kernel CPU list.
    type: str
    required: true
  state:
    description: Keep interrupts on these CPUs (V(present)), or restore the original affinity (V(absent)).
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Restore with O(state=absent) even values that somebody else has changed after this module.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Report what would be set.
  diff_mode:
    support: full
    description: Show each interrupt before and after, and the boot files.
"""

EXAMPLES = r"""
- name: Keep interrupts off CPUs 2 and 3
  lowlatency.trading.irq_affinity:
    housekeeping: 0-1
"""

RETURN = r"""
irqbalance_ignores:
  description:
    - Interrupts that irqbalance has moved back to a CPU from which it is banned. The module also gives a warning,
      because only another version of irqbalance, or stopping it, helps then.
  returned: always
  type: list
  elements: str
irqbalance_stale:
  description:
    - Whether the running irqbalance has another ban than the drop-in. If so, systemd must reload its files, and
      irqbalance must be restarted.
    - The ban is read from the running process. If a play is killed before the restart, the next play restarts it.
  returned: always
  type: bool
knobs:
  description: One entry named V(irq_affinity) for each status that occurs, as in M(lowlatency.trading.kernel_tunables).
  returned: always
  type: list
  elements: dict
  sample:
    - name: irq_affinity
      status: applied
      value: 0-1
      before: 0-3
      previous: 0-3
      reason: "5 of 6: default, irq24, irq25, irq26, irq27"
      overridden_by: ""
"""

import contextlib
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import (
    boot_files,
    cpuset,
    kernelfs,
    topology,
    undo,
)
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.converge import converge
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.settings import Outcome, Setting, summary

DEFAULT = "/proc/irq/default_smp_affinity"
TMPFILES_FILE = "/etc/tmpfiles.d/os-tuning-irq.conf"
IRQBALANCE_FILE = "/etc/systemd/system/irqbalance.service.d/os-tuning.conf"
BAN_VARIABLE = "IRQBALANCE_BANNED_CPULIST"
# The variable that irqbalance before 1.8 reads instead, as a mask (Debian 11, Ubuntu 20.04). Later versions ignore it
# when the list is set.
OLD_BAN_VARIABLE = "IRQBALANCE_BANNED_CPUS"
ENVIRONMENT_FILES = ("/etc/default/irqbalance", "/etc/sysconfig/irqbalance")
IRQBALANCE_UNITS = ("/usr/lib/systemd/system/irqbalance.service", "/lib/systemd/system/irqbalance.service")


def observe(root: Path, files: kernelfs.Files) -> dict[str, str]:
    """Return a dictionary: the kernel's file of an interrupt → the list of CPUs in it, in order of the interrupts.

    `root` is the root directory of the host.
    """
    places = kernelfs.under(root, "/proc/irq").glob("[0-9]*/smp_affinity_list")
    numbers = sorted(int(place.parent.name) for place in places)
    return {path: files.read(path) or "" for path in (f"/proc/irq/{number}/smp_affinity_list" for number in numbers)}


def plan(current: dict[str, str], housekeeping: frozenset[int]) -> dict[str, str]:
    """Return a dictionary with each interrupt's new CPU list, which has only housekeeping CPUs.

    Of its present CPUs the interrupt keeps those that are housekeeping CPUs. When there are none, it gets all
    housekeeping CPUs. These are the CPUs that are not reserved for the engine or telemetry.
    """
    return {irq: cpuset.render((cpuset.parse(cpus) & housekeeping) or housekeeping) for irq, cpus in current.items()}


def run(root: Path, housekeeping_list: str, present: bool, check: bool, force: bool = False) -> dict[str, Any]:
    """Set or restore the affinity on the host whose root directory is `root`; return the module's result.

    Raises TuningError when a file cannot be read or written.
    """
    usable = topology.usable_cpus(root)
    housekeeping = _housekeeping(housekeeping_list, usable)
    files = kernelfs.Files(root)
    needed = present and housekeeping != usable
    banned = {BAN_VARIABLE: cpuset.render(usable - housekeeping), OLD_BAN_VARIABLE: cpuset.mask(usable - housekeeping)}
    strayed = _strayed(root, files, housekeeping) if needed else []
    wanted = _wanted(root, files, housekeeping) if needed else []
    has_irqbalance = any(kernelfs.under(root, unit).exists() for unit in IRQBALANCE_UNITS)

    def boot_texts(held: dict[str, str]) -> dict[str, str]:
        lines = {DEFAULT: cpuset.mask(housekeeping), "/proc/irq/*/smp_affinity_list": cpuset.render(housekeeping)}
        ban = (
            boot_files.HEADER + "[Service]\n" + "".join(f"Environment={name}={cpus}\n" for name, cpus in banned.items())
        )
        return {
            TMPFILES_FILE: boot_files.tmpfiles_text(lines if held else {}, may_fail=True),
            IRQBALANCE_FILE: ban if held and has_irqbalance else "",
        }

    result = converge(root, files, "irq_affinity", wanted, boot_texts, check, force)
    running = _bans_in_force(root)
    expected = _bans_expected(root, banned if boot_texts(result.held)[IRQBALANCE_FILE] else {})
    stale = any(bans != expected for bans in running)
    outcomes = result.outcomes
    if present and not needed:
        outcomes = [Outcome("", "not_applicable", reason="every CPU of this host is a housekeeping CPU")]
    return {
        "changed": result.changed or stale,
        "diff": result.diff,
        "irqbalance_ignores": strayed if running and not stale else [],
        "irqbalance_stale": stale,
        "knobs": summary("irq_affinity", outcomes),
    }


def _housekeeping(text: str, usable: frozenset[int]) -> frozenset[int]:
    try:
        housekeeping = cpuset.parse(text)
    except ValueError as error:
        raise TuningError(f"housekeeping '{text}': {error}") from error
    if not housekeeping or not housekeeping <= usable:
        raise TuningError(f"housekeeping '{text}': this host has the CPUs {cpuset.render(usable)}")
    return housekeeping


def _bans_expected(root: Path, banned: dict[str, str]) -> dict[str, str]:
    """Return the environment variables that the service irqbalance should have. They ban it from some CPUs.

    An assignment in the distribution's environment file overrides the drop-in (systemd.exec(5), EnvironmentFile=).
    """
    expected = dict(banned)
    for path in ENVIRONMENT_FILES:
        text = undo.read_file(kernelfs.under(root, path))
        for name in (BAN_VARIABLE, OLD_BAN_VARIABLE):
            assigned = re.search(rf"^{name}=(.*)$", text, re.MULTILINE)
            if assigned:
                expected[name] = assigned[1].strip().strip("\"'")
    return {name: cpus for name, cpus in expected.items() if cpus}


def _bans_in_force(root: Path) -> list[dict[str, str]]:
    """Return, for each running irqbalance process, the environment variables that ban it from CPUs."""
    found = []
    for name in kernelfs.under(root, "/proc").glob("[0-9]*/comm"):
        # A process that ends during the reading is left out.
        with contextlib.suppress(OSError):
            if name.read_bytes().strip() != b"irqbalance":
                continue
            environment = name.with_name("environ").read_text(encoding="utf-8", errors="replace").split("\0")
            entries = [entry.partition("=") for entry in environment]
            found.append(
                {key: cpus for key, _sign, cpus in entries if key in (BAN_VARIABLE, OLD_BAN_VARIABLE) and cpus}
            )
    return found


def _strayed(root: Path, files: kernelfs.Files, housekeeping: frozenset[int]) -> list[str]:
    """Return the interrupts that now use other CPUs, although an earlier run moved them to the housekeeping CPUs."""
    record = undo.load(kernelfs.under(root, f"{undo.DIRECTORY}/irq_affinity.json"))
    strayed = []
    for name, touch in record.touched.items():
        with contextlib.suppress(ValueError):
            moved = name != "default" and cpuset.parse(touch.ours) <= housekeeping
            if moved and not cpuset.parse(files.read(touch.path) or "") <= housekeeping:
                strayed.append(name)
    return strayed


def _wanted(root: Path, files: kernelfs.Files, housekeeping: frozenset[int]) -> list[Setting]:
    wanted = plan(observe(root, files), housekeeping)
    default = Setting("default", DEFAULT, cpuset.mask(housekeeping))
    return [default, *(Setting(f"irq{path.split('/')[3]}", path, cpus) for path, cpus in wanted.items())]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "housekeeping": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    present = wanted["state"] == "present"
    try:
        result = run(Path("/"), wanted["housekeeping"], present, module.check_mode, wanted["force"])
    except TuningError as error:
        module.fail_json(msg=outside.printable(str(error)))
    if result["irqbalance_ignores"]:
        module.warn(
            f"irqbalance ignores its ban and has put {', '.join(result['irqbalance_ignores'])} on the engine's CPUs "
            "again: install a newer one, or stop it (systemctl disable --now irqbalance)"
        )
    module.exit_json(**outside.printable(result))


if __name__ == "__main__":
    main()
