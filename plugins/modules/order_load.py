#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that runs the load generator trading-bench against an engine.

The generator sends orders and measures the time to each answer.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: order_load
short_description: Put a measured load of orders on an engine
version_added: 0.1.0
description:
  - Run the load generator on this host against an engine, and return its figures.
  - Report no change, because the generator cancels all of its orders.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  command:
    description: The command line of the generator, C(trading-bench).
    type: list
    elements: str
    required: true
  address:
    description: The address of the engine.
    type: str
    required: true
  port:
    description: The TCP port of order entry.
    type: int
    required: true
  feed_port:
    description:
      - The TCP port of market data. When it is given, the generator subscribes, and measures by how much market data
        is later than the replies.
      - A generator of an old release cannot subscribe. The module then gives a warning, and the load is sent without a
        subscription.
    type: int
  account:
    description: The test account to log in with.
    type: str
    required: true
  password:
    description: The account's password. The generator reads it from standard input, so no process list shows it.
    type: str
    required: true
  symbol:
    description: The test symbol to trade.
    type: str
    required: true
  rate_per_s:
    description: The number of orders to send in a second.
    type: int
    required: true
  duration_s:
    description: The measured time in seconds.
    type: int
    required: true
  cpus:
    description: The numbers of the CPUs for the generator. An empty list does not restrict it.
    type: list
    elements: int
    default: []
  keep_off:
    description:
      - The numbers of the CPUs that the generator leaves to the engine. When no other CPU exists, the generator uses
        them, but sleeps between orders instead of spinning.
    type: list
    elements: int
    default: []
  machine_group:
    description: >-
      The control group of the engine's machine, when that machine runs on this host. The generator does not use the
      machine's CPUs.
    type: str
    default: ""
  witness:
    description: Watch the generator's CPU during the load by a real-time thread, which uses about 2 % of it.
    type: bool
    default: false
  engine_state:
    description: >-
      The file with the published state of an engine on this host. The generator reads from it the stalls that the
      engine recorded.
    type: path
  keep:
    description: >-
      The file on this host to which the times of every order are written. M(lowlatency.trading.order_figures) reads it.
    type: path
attributes:
  check_mode:
    support: none
    description: Check mode sends no load, so the module is skipped.
  diff_mode:
    support: none
    description: The module changes nothing.
"""

EXAMPLES = r"""
- name: Send 10,000 orders a second
  lowlatency.trading.order_load:
    command: [/opt/trading/current/bin/trading-bench]
    address: 10.0.1.10
    port: 9001
    account: BENCH
    password: "{{ password }}"
    symbol: TEST
    rate_per_s: 10500
    duration_s: 10
"""

RETURN = r"""
figures:
  description: All figures that the generator reports. Their names contain the units.
  type: dict
  returned: success
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

# Exit codes of trading-bench. With MEASURED and INTERRUPTED it has written figures.
MEASURED = 0
WRONG_OPTION = 2
INTERRUPTED = 3


def plan(parameters: dict[str, Any], report: Path) -> list[str]:
    """Return the command line of the load generator, which writes its figures to the file ``report``."""
    options = {
        "--host": parameters["address"],
        "--port": str(parameters["port"]),
        "--account": parameters["account"],
        "--password-file": "/dev/stdin",
        "--symbol": parameters["symbol"],
        "--rate": str(parameters["rate_per_s"]),
        "--duration": str(parameters["duration_s"]),
        "--json": str(report),
    }
    for name in ("cpus", "keep_off"):
        if parameters[name]:
            options[f"--{name.replace('_', '-')}"] = ",".join(map(str, parameters[name]))
    for name in ("machine_group", "keep"):
        if parameters[name]:
            options[f"--{name.replace('_', '-')}"] = parameters[name]
    if parameters["feed_port"]:
        options["--feed"] = str(parameters["feed_port"])
    if parameters["engine_state"]:
        options["--state"] = parameters["engine_state"]
    command = [*parameters["command"], *(word for option in options.items() for word in option)]
    if parameters["witness"]:
        command.append("--witness")
    return command


def apply(module: AnsibleModule, command: list[str]) -> None:
    """Run the load generator against the engine.

    If the generator is too old to know the option --feed, run it again without that option.
    """
    returned, out, err = outside.run(module, command, data=module.params["password"])
    if returned == WRONG_OPTION and "unrecognized arguments: --feed " in err:
        module.warn(f"{command[0]} is of a release that cannot subscribe to market data: that is not measured")
        at = command.index("--feed")
        command = command[:at] + command[at + 2 :]
        returned, out, err = outside.run(module, command, data=module.params["password"])
    if returned == WRONG_OPTION and "unrecognized arguments" in err:
        module.fail_json(
            msg=f"{command[0]} is of a release that is older than this collection: install the one that belongs to it "
            "(playbooks/configure.yml), or let the load come from the controller (slo_generator_host=localhost)"
        )
    if returned not in (MEASURED, INTERRUPTED):
        module.fail_json(msg=err.strip() or out.strip() or f"{command[0]} ended with exit code {returned}")


def observe(report: Path) -> dict[str, Any]:
    """Return the figures that the load generator wrote to the file ``report``."""
    figures: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return figures


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "command": {"type": "list", "elements": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "feed_port": {"type": "int"},
            "account": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "symbol": {"type": "str", "required": True},
            "rate_per_s": {"type": "int", "required": True},
            "duration_s": {"type": "int", "required": True},
            "cpus": {"type": "list", "elements": "int", "default": []},
            "keep_off": {"type": "list", "elements": "int", "default": []},
            "machine_group": {"type": "str", "default": ""},
            "witness": {"type": "bool", "default": False},
            "engine_state": {"type": "path"},
            "keep": {"type": "path"},
        },
    )
    descriptor, name = tempfile.mkstemp(dir=module.tmpdir, suffix=".json")
    os.close(descriptor)
    report = Path(name)
    apply(module, plan(module.params, report))
    module.exit_json(changed=False, figures=observe(report))


if __name__ == "__main__":
    main()
