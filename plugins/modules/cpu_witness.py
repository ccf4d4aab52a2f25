#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that watches a host's CPUs during a measurement, to find times in which the machine was disturbed.

It starts and ends witnesses. A witness is a process that notices when its CPU is taken away or slowed.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: cpu_witness
short_description: Watch a host's CPUs while something else is measured
version_added: 0.1.0
description:
  - Start C(trading-witness) as a transient unit of systemd with O(state=started). The witness has a real-time thread on
    each CPU that wakes every millisecond. A late wake-up shows that the CPU was taken away or slowed. The witness uses
    about 2 % of each CPU and ends by itself after O(limit_s).
  - Return the record of the witness with O(state=stopped), which ends it.
  - Never fail when the host cannot be watched, but return the reason in RV(reason).
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  state:
    description: Start the witness (V(started)), or end it (V(stopped)).
    type: str
    choices: [started, stopped]
    required: true
  command:
    description: The command line of C(trading-witness). Required when O(state=started).
    type: list
    elements: str
  cpus:
    description: The numbers of the CPUs to watch. Required when O(state=started).
    type: list
    elements: int
  engine_state:
    description: >-
      The file with the published state of the engine. The witness reads from it the stalls that the engine recorded.
    type: path
  limit_s:
    description: The seconds after which the witness ends by itself.
    type: int
    default: 120
attributes:
  check_mode:
    support: none
    description: Check mode runs no load, so the module is skipped.
  diff_mode:
    support: none
    description: The module changes nothing.
"""

EXAMPLES = r"""
- name: Watch the engine's CPU
  lowlatency.trading.cpu_witness:
    state: started
    command: [/opt/trading/current/bin/trading-witness]
    cpus: [1]

- name: Read what was seen
  lowlatency.trading.cpu_witness:
    state: stopped
  register: seen
"""

RETURN = r"""
record:
  description: The witnesses' record for M(lowlatency.trading.order_figures); empty when no witness ran.
  type: dict
  returned: when O(state) is V(stopped)
reason:
  description: Why no witness runs or ran; otherwise empty.
  type: str
  returned: always
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

UNIT = "trading-witness.service"
RECORD = Path("/run/trading-witness.json")
PROPERTIES = {
    "Description": "Watches the machine while orders are measured",
    "KillMode": "mixed",  # the parent ends the witnesses, and reads their records
    "LimitMEMLOCK": "infinity",
    "LimitRTPRIO": "99",
    "TimeoutStartSec": "30",
    "TimeoutStopSec": "30",
    "Type": "notify",
}


def run(module: AnsibleModule, command: list[str]) -> tuple[int, str]:
    """Run a command. Return its exit code and error output, or 127 and the error when the program does not exist."""
    try:
        returned, _out, err = outside.run(module, command, handle_exceptions=False)
    except OSError as error:
        return 127, str(error)
    return returned, err


def plan(parameters: dict[str, Any]) -> list[str]:
    """Return the command line of systemd-run that starts the witnesses, the processes that watch the CPUs."""
    command = [*parameters["command"], "--cpus", ",".join(map(str, parameters["cpus"])), "--output", str(RECORD)]
    command += ["--limit", str(parameters["limit_s"])]
    command += ["--state", parameters["engine_state"]] if parameters["engine_state"] else []
    limits = {**PROPERTIES, "RuntimeMaxSec": str(parameters["limit_s"] + 60)}
    words = [f"--property={name}={value}" for name, value in limits.items()]
    return ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", *words, *command]


def apply(module: AnsibleModule, command: list[str]) -> str:
    """Start the witnesses, the processes that watch the CPUs. Return why that failed, or an empty text."""
    run(module, ["systemctl", "stop", UNIT])  # an interrupted play may have left the unit
    try:
        RECORD.unlink(missing_ok=True)
    except OSError as error:
        return f"trading-witness cannot leave its record in {RECORD}: {error.strerror}"
    returned, _out, err = outside.run(module, command)
    return "" if returned == 0 else f"trading-witness does not start on this host: {err.strip()}"


def observe(module: AnsibleModule) -> tuple[dict[str, object], str]:
    """End the witnesses and return their record and an empty text.

    When there is no record, return an empty one and the reason.
    """
    run(module, ["systemctl", "stop", UNIT])
    try:
        record: dict[str, object] = json.loads(RECORD.read_text(encoding="utf-8"))
        RECORD.unlink()
    except (OSError, ValueError):
        return {}, "trading-witness left no record on this host"
    return record, ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "required": True},
            "command": {"type": "list", "elements": "str"},
            "cpus": {"type": "list", "elements": "int"},
            "engine_state": {"type": "path"},
            "limit_s": {"type": "int", "default": 120},
        },
        required_if=[("state", "started", ("command", "cpus"))],
    )
    if module.params["state"] == "started":
        module.exit_json(changed=False, reason=apply(module, plan(module.params)))
    record, reason = observe(module)
    module.exit_json(changed=False, record=record, reason=reason)


if __name__ == "__main__":
    main()
