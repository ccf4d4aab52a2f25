#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that kills the processes of systemd units, and checks whether systemd starts them again."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: unit_kill_trial
short_description: Check whether systemd restarts units after a kill
version_added: 0.2.0
description:
  - Have systemd send SIGKILL to the processes of one unit after the other. Wait until each unit has a new main process
    and is active.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  units:
    description: The units, in the order in which they are killed.
    type: list
    elements: str
    required: true
  wait_seconds:
    description: The longest wait for each unit in seconds.
    type: int
    default: 30
attributes:
  check_mode:
    description: Check mode kills nothing, so the module is skipped.
    support: none
  diff_mode:
    description: systemd restarts the units, so there is no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Try whether the services come back
  lowlatency.trading.unit_kill_trial:
    units: [telemetry.service, trading-engine.service]
  register: killed
"""

RETURN = r"""
units:
  description: >-
    For each unit the seconds until it was active again, or the seconds of the whole wait, and the problem, which is
    empty without one.
  type: dict
  returned: success
  sample: {"telemetry.service": {"seconds": 1.2, "problem": ""}}
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

_LOOK_EACH_S = 0.1


def state(module: AnsibleModule, unit: str) -> tuple[str, str]:
    """Return the id of a unit's main process ("0" without one), and its state, such as "active, running"."""
    wanted = "--property=MainPID,ActiveState,SubState"
    _code, shown, _err = outside.run(module, ["systemctl", "show", wanted, unit])
    found = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return found.get("MainPID", "0"), f"{found.get('ActiveState', 'unknown')}, {found.get('SubState', 'unknown')}"


def plan(described: str) -> str:
    """Return why the unit has no process to kill, or an empty text."""
    return "" if described == "active, running" else f"it did not run before the kill: {described}"


def apply(module: AnsibleModule, unit: str) -> str:
    """Kill the processes of a unit; return why that failed, or an empty text."""
    code, _out, error = outside.run(module, ["systemctl", "kill", "--signal=KILL", unit])
    return error.strip() or f"systemctl ended with {code}" if code else ""


def observe(module: AnsibleModule, unit: str, before: str, wait_seconds: float) -> dict[str, Any]:
    """Wait until the unit is active with a new main process. Return `seconds` and `problem` (see RETURN)."""
    started = time.monotonic()
    while True:
        now, described = state(module, unit)
        seconds = round(time.monotonic() - started, 1)
        if now not in ("0", before) and described == "active, running":
            return {"seconds": seconds, "problem": ""}
        if seconds >= wait_seconds:
            return {"seconds": seconds, "problem": f"not back after {wait_seconds:g} s: {described}"}
        time.sleep(_LOOK_EACH_S)


def trial(module: AnsibleModule, unit: str) -> dict[str, Any]:
    """Kill one unit. Return `seconds` and `problem` (see RETURN)."""
    before, described = state(module, unit)
    problem = plan(described) or apply(module, unit)
    if problem:
        return {"seconds": 0.0, "problem": problem}
    return observe(module, unit, before, module.params["wait_seconds"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "wait_seconds": {"type": "int", "default": 30},
        },
        supports_check_mode=False,
    )
    units = {unit: trial(module, unit) for unit in module.params["units"]}
    module.exit_json(changed=True, units=units)


if __name__ == "__main__":
    main()
