#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that reads the state of a trading host: units, health, sessions, memory and CPU time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: trading_host_info
short_description: Read the state of a trading host
version_added: 0.1.0
description:
  - Return all values of a trading host that are compared with its SLO targets, from one moment.
  - Change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  units:
    description: The systemd units whose state is read.
    type: list
    elements: str
    required: true
  health_url:
    description: The URL of the host's health check, which answers 200 when all is well.
    type: str
    required: true
  status_command:
    description: The command that prints a JSON object about the running engine, including C(sessions_open).
    type: list
    elements: str
    required: true
  patience_s:
    description: The longest wait in seconds for the health check to answer 200.
    type: int
    default: 0
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read the host's state
  lowlatency.trading.trading_host_info:
    units: [trading-engine.service, telemetry.service]
    health_url: http://127.0.0.1:8000/health
    status_command: [/opt/trading/current/bin/trading-engine, status, --config, /etc/trading/engine.toml]
"""

RETURN = r"""
units:
  description: The state of each unit, such as C(active, enabled).
  type: dict
  returned: always
unit_cpus:
  description: The CPUs on which the main process of each unit may run; empty for a unit that does not run.
  type: dict
  returned: always
health:
  description: The C(status) of the health check's answer, 0 without an answer, and its C(text).
  type: dict
  returned: always
sessions_open:
  description: The number of open client sessions, -1 when it is unknown.
  type: int
  returned: always
compiled:
  description: Whether the running engine is compiled; none when that is unknown.
  type: bool
  returned: always
cpus:
  description: The number of CPUs that the host may use.
  type: int
  returned: always
memory_percent:
  description: The memory in use, in percent.
  type: float
  returned: always
cpu_busy_s:
  description: >-
    The CPU time in seconds that each part of the host has used so far. The difference of two readings is the use
    between them.
  type: dict
  returned: always
cpu_scope:
  description: >-
    C(machine) when RV(cpu_busy_s) covers everything that the CPUs did. C(processes) in a container, where it covers
    only the container's own processes.
  type: str
  returned: always
"""

import json
import os
import time
import urllib.error
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

HEALTH_TIMEOUT_S = 5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def memory_percent(meminfo: str) -> float:
    """Return the memory in use, in percent, from the text of /proc/meminfo (proc_meminfo(5))."""
    kib = {line.split(":")[0]: int(line.split()[1]) for line in meminfo.splitlines() if len(line.split()) > 1}
    return round(100 * (1 - kib["MemAvailable"] / kib["MemTotal"]), 1)


def machine_busy_s(stat: str) -> float:
    """Return the CPU time in seconds, since boot, that was not idle, from the text of /proc/stat (proc_stat(5))."""
    fields = [int(field) for field in stat.splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def process_fields(stat: bytes) -> list[bytes]:
    """Return the fields of /proc/PID/stat after the process's name, which may contain any bytes."""
    return stat.rsplit(b")", 1)[1].split()


def process_busy_s(stat: bytes) -> float:
    """Return the CPU time of one process in seconds, from the text of its /proc/PID/stat (proc_pid_stat(5))."""
    fields = process_fields(stat)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def processes_busy_s(proc: Path) -> dict[str, float]:
    """Return a dictionary: "id@start time" of a process → its CPU time in seconds.

    This process is left out. The start time is part of the key because process ids are reused.
    """
    busy_s = {}
    for directory in proc.iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                stat = (directory / "stat").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            busy_s[f"{directory.name}@{int(process_fields(stat)[19])}"] = process_busy_s(stat)
    return busy_s


def health(url: str) -> dict[str, Any]:
    try:
        # The certificate need not be checked, because the URL is the host's own and the request has no secrets.
        with open_url(url, timeout=HEALTH_TIMEOUT_S, use_proxy=False, validate_certs=False) as answer:
            return {"status": answer.status, "text": answer.read().decode(errors="replace")}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "text": error.read().decode(errors="replace")}
    except OSError as error:
        return {"status": 0, "text": str(error)}


def patient_health(url: str, patience_s: int) -> dict[str, Any]:
    """Request the health check until its status is 200, for at most `patience_s` seconds. Return its last answer."""
    give_up_s = time.monotonic() + patience_s
    while True:
        answer = health(url)
        if answer["status"] == 200 or time.monotonic() >= give_up_s:
            return answer
        time.sleep(0.2)


def unit_properties(module: AnsibleModule, units: list[str]) -> dict[str, dict[str, str]]:
    """Return a dictionary: unit → its properties ActiveState, UnitFileState and MainPID, as systemd prints them."""
    properties = {}
    for unit in units:
        wanted = "--property=ActiveState,UnitFileState,MainPID"
        _returned, shown, _err = outside.run(module, ["systemctl", "show", wanted, unit])
        properties[unit] = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return properties


def unit_state(properties: dict[str, str]) -> str:
    return f"{properties.get('ActiveState', 'unknown')}, {properties.get('UnitFileState') or 'not installed'}"


def unit_cpus(properties: dict[str, str]) -> list[int]:
    """Return the numbers of the CPUs on which the unit's main process may run; empty for a unit that does not run."""
    main = int(properties.get("MainPID") or 0)
    try:
        return sorted(os.sched_getaffinity(main)) if main else []
    except OSError:
        return []


def engine_status(module: AnsibleModule) -> dict[str, Any]:
    """Return the JSON object that the status command printed; empty when the command fails or prints none."""
    try:
        returned, out, _err = outside.run(module, module.params["status_command"], handle_exceptions=False)
        status = json.loads(out) if returned == 0 else {}
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def sessions_open(status: dict[str, Any]) -> int:
    try:
        return int(status["sessions_open"])
    except (ValueError, KeyError, TypeError):
        return -1


def compiled(status: dict[str, Any]) -> bool | None:
    told = status.get("compiled")
    return told if isinstance(told, bool) else None


def observe(module: AnsibleModule) -> dict[str, Any]:
    """Return the module's results (see RETURN)."""
    in_container = Path("/run/systemd/container").exists()
    answer = patient_health(module.params["health_url"], module.params["patience_s"])
    units = unit_properties(module, module.params["units"])
    status = engine_status(module)
    return {
        "units": {unit: unit_state(properties) for unit, properties in units.items()},
        "unit_cpus": {unit: unit_cpus(properties) for unit, properties in units.items()},
        "health": answer,
        "sessions_open": sessions_open(status),
        "compiled": compiled(status),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_percent": memory_percent(Path("/proc/meminfo").read_text(encoding="utf-8")),
        "cpu_scope": "processes" if in_container else "machine",
        "cpu_busy_s": processes_busy_s(Path("/proc"))
        if in_container
        else {"machine": machine_busy_s(Path("/proc/stat").read_text(encoding="utf-8"))},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "health_url": {"type": "str", "required": True},
            "status_command": {"type": "list", "elements": "str", "required": True},
            "patience_s": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **observe(module))


if __name__ == "__main__":
    main()
