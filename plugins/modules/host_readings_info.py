#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that reads the state of a trading host, from which the causes of a problem are found."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_readings_info
short_description: Read the state of a trading host for a diagnosis
version_added: 0.2.0
description:
  - Read the present state of units, file systems, listening ports, processors, busy processes, interfaces, clock,
    firewall, kernel settings and the kernel's log, for the filter P(lowlatency.trading.likely_causes#filter).
  - Leave a part of the readings empty when its program fails or does not exist. The module does not fail then.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  units:
    description: The systemd units whose state and log are read.
    type: list
    elements: str
    required: true
  places:
    description: The directories whose file systems are read.
    type: list
    elements: path
    default: []
  status_command:
    description: The command that prints the engine's state as JSON.
    type: list
    elements: str
    default: []
  status_commands:
    description: The commands of several engines, by the names of their partitions.
    type: dict
    default: {}
  seconds:
    description: The time in seconds over which the use of processors by processes is measured.
    type: float
    default: 2
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read how the host is
  lowlatency.trading.host_readings_info:
    units: [trading-engine.service, telemetry.service]
    places: [/var/lib/trading]
  register: host
"""

RETURN = r"""
readings:
  description:
    - The values by parts of the host.
    - C(units) has each unit's state and the end of its log.
    - C(places) has the free shares of space and inodes of each file system, from 0 to 1.
    - C(ports) has the processes that listen on each port.
    - C(cpus) has the shares of each processor's time, from 0 to 1.
    - C(processes) has the busiest processes, with their shares of one processor.
    - C(cpus_of) has the processors on which each unit's process may run.
    - C(drift) has a sentence for each kernel setting that differs from the one that tuning set.
  type: dict
  returned: success
  sample: {"places": {"/var/lib/trading": {"free": 0.42, "free_inodes": 0.97, "read_only": false}}}
"""

import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.diagnosis import answers, load

_KERNEL_LOG_LINES = 100
_RECENTLY = "--since=-15min"
_LOG_LINES = 40
_TUNING_REPORT = Path("/var/lib/os-tuning.json")
_FIREWALL_TABLE = "trading"


def place(path: str) -> dict[str, Any]:
    """Return a dictionary about a path's file system: its free space, its free inodes, and whether it is read-only.

    The first two are shares from 0 to 1. Return an empty dictionary when the path does not exist.
    """
    try:
        found = os.statvfs(path)
    except OSError:
        return {}
    return {
        "free": round(found.f_bavail / found.f_blocks, 4) if found.f_blocks else 1.0,
        "free_inodes": round(found.f_favail / found.f_files, 4) if found.f_files else 1.0,
        "read_only": bool(found.f_flag & os.ST_RDONLY),
    }


def drift(report: dict[str, Any], proc: Path = Path("/proc/sys")) -> list[str]:
    """Return a sentence for each kernel setting whose present value is not the one that tuning set.

    `report` is the tuning report on the host.
    """
    found = []
    for knob in report.get("knobs", []):
        path = proc / str(knob.get("name", "")).replace(".", "/")
        # An entry with a reason has a value that intentionally differs from the profile's. Skip it.
        if knob.get("status") == "in_force" and not knob.get("reason") and "." in knob["name"] and path.is_file():
            now = " ".join(path.read_bytes().decode(errors="backslashreplace").split())
            if now != " ".join(str(knob["value"]).split()):
                found.append(f"{knob['name']} is {now} instead of {knob['value']}")
    return found


def governor_of(report: dict[str, Any]) -> str:
    """Return the frequency governor that tuning set, or an empty text."""
    knobs = [knob for knob in report.get("knobs", []) if knob.get("name") == "cpu_governor"]
    return next((str(knob["value"]) for knob in knobs if knob.get("status") == "in_force"), "")


def governors(sysfs: Path = Path("/sys/devices/system/cpu")) -> dict[str, str]:
    """Return a dictionary: CPU → its frequency governor, for CPUs whose kernel driver has one."""
    files = sysfs.glob("cpu[0-9]*/cpufreq/scaling_governor")
    return {file.parent.parent.name[3:]: file.read_text(encoding="ascii").strip() for file in files}


class Host:
    """Functions that run programs on the host. The output of a program that fails or does not exist is empty."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module

    def say(self, *command: str) -> str:
        """Return a command's output, or an empty text when it fails or does not exist."""
        try:
            returned, out, _err = outside.run(self._module, list(command), handle_exceptions=False)
        except OSError:
            return ""
        return out if returned == 0 else ""

    def unit(self, name: str) -> dict[str, Any]:
        """Return a unit's properties. The key `log` has the last lines of the unit's log."""
        state = answers.unit(self.say("systemctl", "show", "--property", answers.UNIT_PROPERTIES, name))
        command = ["journalctl", "--no-pager", "--output=cat", f"--lines={_LOG_LINES}"]
        # Log lines of an earlier run of the unit do not explain its present state. Old lines of a run that is still
        # active do not either.
        runs = [run] if (run := state.pop("run", "")) else []
        # While the unit is starting again, the log of the previous run says why that run ended.
        if runs and state.get("active") == "activating" and state.get("restarts"):
            listed = self.say("journalctl", "--no-pager", "--output=json", f"--lines={_LOG_LINES}", f"--unit={name}")
            runs = answers.newest_runs(listed, 2) or runs
        command += " + ".join(f"_SYSTEMD_INVOCATION_ID={run} + INVOCATION_ID={run}" for run in runs).split() or [
            f"--unit={name}"
        ]
        command += [_RECENTLY] if state.get("active") == "active" else []
        return {**state, "log": self.say(*command).splitlines()}

    def links(self) -> dict[str, dict[str, Any]]:
        """Return a dictionary: interface → what delays its packets, and how often the instance exceeded each allowance.

        An allowance is AWS's name for a limit of an instance's network.
        """
        delays = answers.delays(self.say("tc", "-j", "qdisc", "show"))
        names = [path.name for path in Path("/sys/class/net").iterdir() if (path / "device").exists()]
        return {
            name: {
                "delay": delays.get(name, ""),
                "exceeded": answers.allowances(self.say("ethtool", "-S", name)) if name in names else {},
            }
            for name in sorted({*names, *delays})
        }

    def kernel_log(self) -> list[str]:
        """Return the newest 100 warnings and errors of the kernel's log."""
        command = ["journalctl", "--no-pager", "--dmesg", "--priority=warning", "--output=cat"]
        return self.say(*command, f"--lines={_KERNEL_LOG_LINES}").splitlines()


def observe(module: AnsibleModule) -> dict[str, Any]:
    """Return all readings, grouped by the part of the host that they describe (see RETURN)."""
    host, options = Host(module), module.params
    before, begun_s = load.look(), time.monotonic()
    time.sleep(options["seconds"])  # the time of the measurement
    after, seconds = load.look(), time.monotonic() - begun_s
    counters = host.say("nft", "-j", "list", "counters", "table", "inet", _FIREWALL_TABLE)
    try:
        report = answers.values(_TUNING_REPORT.read_text(encoding="utf-8", errors="backslashreplace"))
    except OSError:
        report = {}
    units = {name: host.unit(name) for name in options["units"]}
    return {
        "units": units,
        "cpus_of": {
            name: after.processes[unit["pid"]].cpus
            for name, unit in units.items()
            if unit.get("pid") in after.processes
        },
        "places": {path: place(path) for path in options["places"]},
        "ports": answers.listeners(host.say("ss", "-Hltnp")),
        **load.difference(before, after, seconds, os.sysconf("SC_CLK_TCK")),
        "links": host.links(),
        "clock": answers.clock(host.say("chronyc", "-c", "-n", "tracking")),
        "firewall": {"loaded": bool(counters), "refused": answers.refused(counters)},
        "kernel_log": host.kernel_log(),
        "drift": drift(report),
        "tuned_governor": governor_of(report),
        "governors": governors(),
        "engine": answers.values(host.say(*options["status_command"])) if options["status_command"] else {},
        "engines": {
            name: answers.values(host.say(*map(str, command))) for name, command in options["status_commands"].items()
        },
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "places": {"type": "list", "elements": "path", "default": []},
            "status_command": {"type": "list", "elements": "str", "default": []},
            "status_commands": {"type": "dict", "default": {}},
            "seconds": {"type": "float", "default": 2},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, readings=outside.printable(observe(module)))


if __name__ == "__main__":
    main()
