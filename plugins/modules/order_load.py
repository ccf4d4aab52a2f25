#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a measured load of orders to an engine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: order_load
short_description: Put a measured load of orders on an engine
version_added: 0.1.0
description:
  - Run the load generator on this host against an engine, and return its figures. The generator cancels all of its
    orders, so nothing counts as changed.
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
      - The TCP port of market data. With it the generator subscribes, and measures how far that is behind the replies.
      - A generator of a release from before it could subscribe sends the load without, and a warning says so.
    type: int
  account:
    description: The test account to log in with.
    type: str
    required: true
  password:
    description: The account's password. It is handed over on the standard input and appears in no process list.
    type: str
    required: true
  symbol:
    description: The test symbol to trade.
    type: str
    required: true
  rate_per_s:
    description: The orders offered in a second.
    type: int
    required: true
  duration_s:
    description: The measured time in seconds.
    type: int
    required: true
  cpus:
    description: The CPUs for the generator. Empty leaves it where it may run.
    type: list
    elements: int
    default: []
  keep_off:
    description:
      - The CPUs that the generator leaves to the engine. Where nothing is left it stays, and sleeps instead of
        spinning.
    type: list
    elements: int
    default: []
  machine_group:
    description: The control group on this host that holds the engine's machine, whose CPUs the generator leaves to it.
    type: str
    default: ""
  witness:
    description: Watch the generator's CPU meanwhile by a real-time thread, which takes about 2 % of it.
    type: bool
    default: false
  engine_state:
    description: The published state of an engine on this host, for the stalls that it records itself.
    type: path
  keep:
    description: The file on this host for the times of every order, which M(lowlatency.trading.order_figures) reads.
    type: path
attributes:
  check_mode:
    support: none
    description: There is no measurement without load; in check mode the module is skipped.
  diff_mode:
    support: none
    description: It changes nothing.
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
  description: Everything that the generator reports, units in the names.
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

# Exit codes of trading-bench; the first and the last come with figures.
MEASURED = 0
WRONG_OPTION = 2
INTERRUPTED = 3


def plan(parameters: dict[str, Any], report: Path) -> list[str]:
    """Return the generator's command line."""
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
    """Run the generator against the engine."""
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
    """Return the figures that the generator wrote."""
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
