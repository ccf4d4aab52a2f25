#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that sets interrupt moderation and ring sizes of network cards."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nic_settings
short_description: Set interrupt moderation and ring sizes of network cards
version_added: 0.1.0
description:
  - Set the interrupt moderation of every network card with a hardware device, and its receive ring to the driver's
    maximum, by C(ethtool).
  - Report a setting that a driver does not have as V(not_applicable).
  - Write a udev rule that sets the same when the card appears at the next boot.
  - Record the original settings in C(/var/lib/os-tuning/nic_settings.json). O(state=absent) restores them.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  coalesce:
    description: The interrupt moderation, with the names of C(ethtool -C). Required when O(state=present).
    type: dict
    version_added: 0.2.0
  min_cpus:
    description: >-
      Leave the cards unchanged on a host with fewer usable CPUs. A single CPU has no time for an interrupt for each
      packet.
    type: int
    default: 2
  state:
    description: Set the cards (V(present)), or restore the original settings (V(absent)).
    type: str
    choices: [present, absent]
    default: present
  force:
    description: Restore with O(state=absent) also settings that somebody else has changed after this module.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Report what would be set. Whether a driver refuses a value is known only after the first attempt.
  diff_mode:
    support: full
    description: Show each setting before and after, and the udev rule.
"""

EXAMPLES = r"""
- name: Deliver packets at once
  lowlatency.trading.nic_settings:
    coalesce: {adaptive-rx: "off", rx-usecs: "0", tx-usecs: "0"}
"""

RETURN = r"""
knobs:
  description: One entry for each card and setting, as in M(lowlatency.trading.kernel_tunables).
  returned: always
  type: list
  elements: dict
  sample:
    - name: ens5/coalesce/rx-usecs
      status: applied
      value: "0"
      before: "20"
      previous: "20"
      reason: ""
      overridden_by: ""
"""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import (
    boot_files,
    ethtool,
    kernelfs,
    topology,
    undo,
)
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.converge import converge
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.ethtool import Ethtool
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.settings import Outcome, Setting

RULE_FILE = "/etc/udev/rules.d/95-os-tuning.rules"


def observe(root: Path) -> tuple[list[str], int]:
    """Return the names of the network cards and the number of CPUs of the host whose root directory is `root`."""
    return [nic.name for nic in topology.read_nics(root)], len(topology.usable_cpus(root))


def plan(tool: Ethtool, names: list[str], coalesce: Mapping[str, str]) -> list[Setting]:
    """Return the wanted settings of every card: its interrupt moderation and its receive ring."""
    return [setting for name in names for setting in _settings(tool, name, coalesce)]


def run(
    root: Path, tool: Ethtool, min_cpus: int, coalesce: Mapping[str, str] | None, check: bool, force: bool = False
) -> dict[str, Any]:
    """Apply the settings to the network cards of the host whose root directory is `root`; return the module's result.

    Without `coalesce` the original settings are restored. Raises TuningError when a file cannot be read or written.
    """
    names, cpus = observe(root)
    obstacle = _obstacle(names, cpus, min_cpus, tool) if coalesce else ""
    wanted = plan(tool, names, coalesce) if coalesce and not obstacle else []

    def boot_texts(held: dict[str, str]) -> dict[str, str]:
        return {RULE_FILE: rules(root, tool, held)}

    result = converge(root, tool, "nic_settings", wanted, boot_texts, check, force)
    outcomes = [dataclasses.replace(o, reason=_reason(o)) for o in result.outcomes]
    if obstacle:
        outcomes.append(Outcome("nic_settings", "not_applicable", reason=obstacle))
    return {
        "changed": result.changed,
        "diff": result.diff,
        "knobs": [{**dataclasses.asdict(outcome), "overridden_by": ""} for outcome in outcomes],
    }


def _obstacle(names: list[str], cpus: int, min_cpus: int, tool: Ethtool) -> str:
    if not names:
        return "this host has no network card of its own"
    if cpus < min_cpus:
        return f"needs {min_cpus} CPUs, this host has {cpus}"
    return "" if tool.program else "ethtool is not installed"


def _settings(tool: Ethtool, nic: str, coalesce: Mapping[str, str]) -> list[Setting]:
    wanted = {f"{nic}/coalesce/{name}": str(value) for name, value in coalesce.items()}
    largest = tool.maximum(nic, "rx")
    wanted[f"{nic}/ring/rx"] = largest or "maximum"
    return [Setting(path, path, value) for path, value in wanted.items()]


def _reason(outcome: Outcome) -> str:
    return "the driver has no such setting" if outcome.status == "not_applicable" else outcome.reason


def rules(root: Path, tool: Ethtool, held: dict[str, str]) -> str:
    """Return the text of the file with a udev rule for each network card, or an empty text.

    A rule matches the card's address, because udev may rename a card while rules run. It also requires a driver,
    because VLANs, bridges and bonds share a card's address but have no driver. The address is the card's permanent one.
    When a card of a bond appears, it still has this address; it gets the bond's address later.
    """
    commands: dict[str, dict[str, list[str]]] = {}
    for path, value in held.items():
        nic, group, name = path.split("/")
        commands.setdefault(nic, {}).setdefault(ethtool.SET[group], []).append(f"{name} {value}")
    lines = []
    for nic, groups in commands.items():
        present = undo.read_file(kernelfs.under(root, f"/sys/class/net/{nic}/address")).strip()
        address = tool.permanent_address(nic) or present
        runs = [f'RUN+="{tool.program} {option} $name {" ".join(words)}"' for option, words in groups.items()]
        lines.append(
            ", ".join(['ACTION=="add"', 'SUBSYSTEM=="net"', 'DRIVERS=="?*"', f'ATTR{{address}}=="{address}"', *runs])
        )
    return boot_files.HEADER + "".join(f"{line}\n" for line in lines) if lines else ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "coalesce": {"type": "dict"},
            "min_cpus": {"type": "int", "default": 2},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "force": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ["coalesce"])],
        supports_check_mode=True,
    )

    def command(argv: list[str]) -> tuple[int, str, str]:
        return outside.run(module, argv)

    program = shutil.which("ethtool", path="/usr/sbin:/sbin:/usr/bin:/bin") or ""
    wanted = module.params
    coalesce = wanted["coalesce"] if wanted["state"] == "present" else None
    try:
        tool = Ethtool(command, program)
        result = run(Path("/"), tool, wanted["min_cpus"], coalesce, module.check_mode, wanted["force"])
    except TuningError as error:
        module.fail_json(msg=outside.printable(str(error)))
    module.exit_json(**outside.printable(result))


if __name__ == "__main__":
    main()
