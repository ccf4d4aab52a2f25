#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a systemd unit running on its currently installed files, without interrupting work in progress."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fresh_unit
short_description: Keep a systemd unit enabled, running, and younger than the files it was made from
version_added: 0.1.0
description:
  - Enable and start a unit, and restart it when one of its files changed after its process began.
  - Read from the system at each run what the unit runs on, and leave nothing to handlers, so that a play that was
    interrupted between a change and the restart makes up for it the next time.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  name:
    description: The unit, with its suffix.
    type: str
    required: true
  sources:
    description:
      - The files and links the running process was made from, besides the unit's own file and drop-ins.
      - Count a link itself, not its target.
    type: list
    elements: path
    default: []
  restart:
    description:
      - Restart as soon as a source is younger than the process (V(always)), or only report it (V(never)).
      - Restart with V(idle) when O(busy_command) says that nobody would be disturbed, and report it otherwise.
    type: str
    choices: [idle, always, never]
    default: always
  busy_command:
    description:
      - The command that prints one JSON object about the running process, whose C(sessions_open) says how many clients
        a restart would disturb. Required by V(idle).
      - Take the unit for busy when the command fails, because nobody knows that it is not.
    type: list
    elements: str
  take_over_command:
    description:
      - The command that has the running process take over what changed in O(take_over_sources), without a restart. It
        prints a JSON object whose C(changed) says whether anything had.
      - Run instead of a restart, whatever O(restart) says, when nothing else is younger than the process; where it
        fails, O(restart) decides.
    type: list
    elements: str
    default: []
  take_over_sources:
    description: The sources, of those in O(sources), that the command takes over.
    type: list
    elements: path
    default: []
  not_beside:
    description:
      - A pattern of units in C(/etc/systemd/system), as V(trading-engine@*.service), beside which this one is not run.
        Fail where there is one.
    type: str
    default: ""
    version_added: 0.2.0
attributes:
  check_mode:
    support: full
    description:
      - Report what would be done. Whether a process would take something over is not known before, and not reported.
  diff_mode:
    support: none
    description: The reason is in the result.
"""

EXAMPLES = r"""
- name: Run the engine on its present configuration, or say that it must be restarted
  lowlatency.trading.fresh_unit:
    name: trading-engine.service
    sources: [/etc/trading/engine.toml, /opt/trading/current]
    restart: idle
    busy_command: [/opt/trading/current/bin/trading-engine, status, --config, /etc/trading/engine.toml]
"""

RETURN = r"""
actions:
  description: The actions taken, from C(take_over), C(reload), C(enable), C(start), C(restart).
  type: list
  elements: str
  returned: success
restart_required:
  description: Whether the unit still runs on something older than its files.
  type: bool
  returned: success
reason:
  description: Why it was restarted, or why it was not.
  type: str
  returned: success
"""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

UNITS = Path("/etc/systemd/system")


@dataclass(frozen=True)
class Observed:
    """The state of a unit. `younger` are the sources that changed after the process began."""

    known: bool
    masked: bool
    enabled: bool
    active: bool
    needs_reload: bool
    younger: tuple[str, ...]
    disturbed: int | None  # clients a restart would disturb; None: unknown


@dataclass(frozen=True)
class Plan:
    actions: tuple[str, ...]
    restart_required: bool
    reason: str


@dataclass(frozen=True)
class TakenOver:
    """A running process's answer to its new files: `error` is empty when it continues with them."""

    changed: bool
    error: str


def can_take_over(observed: Observed, sources: list[str]) -> bool:
    """Return whether all files newer than the process are ones that it can take over while it runs."""
    return bool(observed.younger) and set(observed.younger) <= set(sources) and not observed.needs_reload


def plan(observed: Observed, restart: str, taken_over: TakenOver | None = None) -> Plan:
    """Return the actions that bring the unit up to date, as far as `restart` (idle, always, never) allows."""
    if taken_over is not None and not taken_over.error:
        enable = () if observed.enabled else ("enable",)
        return Plan((*(("take_over",) if taken_over.changed else ()), *enable), False, "")
    actions = ["reload"] if observed.needs_reload else []
    if not observed.enabled:
        actions.append("enable")
    if not observed.active:
        return Plan((*actions, "start"), False, "it was not running")
    if not observed.younger:
        return Plan(tuple(actions), False, "")
    reason = f"{', '.join(observed.younger)} changed after it started"
    if taken_over is not None:
        reason += f" (not taken over while it runs: {taken_over.error})"
    if restart == "never":
        return Plan(tuple(actions), True, f"{reason}; it is never restarted by itself")
    if restart == "idle" and observed.disturbed is None:
        return Plan(tuple(actions), True, f"{reason}, but whether clients are connected is unknown")
    if restart == "idle" and observed.disturbed:
        return Plan(tuple(actions), True, f"{reason}, but clients are connected ({observed.disturbed})")
    return Plan((*actions, "restart"), False, reason)


def parse_started(printed: str, monotonic_us: str, booted_s: float) -> float:
    """Return the start time of a process in seconds, 0 when it never started.

    `printed` is the time as every systemd prints it, in UTC, to the second. The weekday is not parsed, because Python
    knows it only in the locale's language. `monotonic_us` is exact, counted from `booted_s`. When the two differ, the
    clock was set meanwhile. Then the earlier time counts: one restart too many is better than one too few.
    """
    if not printed or printed == "n/a":
        return 0.0
    _day, date, time_of_day, _zone = printed.split()
    moment = datetime.fromisoformat(f"{date}T{time_of_day}+00:00").timestamp()
    exact = booted_s + int(monotonic_us) / 1e6
    return exact if -0.5 < exact - moment < 1.5 else min(exact, moment)


class Unit:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.name: str = module.params["name"]

    def systemctl(self, *arguments: str) -> str:
        returned, out, err = outside.run(self.module, ["systemctl", *arguments], {"TZ": "UTC"})
        if returned != 0:
            _returned, log, _err = outside.run(self.module, ["journalctl", "-u", self.name, "-n", "5", "-o", "cat"])
            said = " | ".join(log.strip().splitlines())
            self.module.fail_json(msg=f"systemctl {' '.join(arguments)} failed: {err.strip()} Last in its log: {said}")
        return out

    def observe(self) -> Observed:
        times = "ExecMainStartTimestamp,ExecMainStartTimestampMonotonic"
        names = f"LoadState,UnitFileState,ActiveState,NeedDaemonReload,{times},FragmentPath,DropInPaths"
        shown = self.systemctl("show", "--property", names, self.name)
        properties = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        active = properties["ActiveState"] in ("active", "reloading")
        booted_s = time.time() - time.monotonic()
        printed, monotonic_us = (properties[name] for name in times.split(","))
        started_s = parse_started(printed, monotonic_us, booted_s)
        unit_files = [properties["FragmentPath"], *properties["DropInPaths"].split()]
        sources = [path for path in (*self.module.params["sources"], *unit_files) if path]
        younger = [path for path in sources if changed_s(path) > started_s] if active else []
        return Observed(
            known=properties["LoadState"] == "loaded",
            masked=properties["LoadState"] == "masked",
            enabled=properties["UnitFileState"] == "enabled",
            active=active,
            needs_reload=properties["NeedDaemonReload"] == "yes",
            younger=tuple(younger),
            disturbed=self.disturbed() if younger and self.module.params["restart"] == "idle" else 0,
        )

    def disturbed(self) -> int | None:
        """Return how many clients a restart would disturb, None when that is unknown."""
        try:
            command = self.module.params["busy_command"]
            returned, out, _err = outside.run(self.module, command, handle_exceptions=False)
            return int(json.loads(out)["sessions_open"]) if returned == 0 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def take_over(self) -> TakenOver:
        """Make the running process take over its new files."""
        try:
            returned, out, err = outside.run(
                self.module, self.module.params["take_over_command"], handle_exceptions=False
            )
            if returned == 0:
                return TakenOver(bool(json.loads(out)["changed"]), "")
            return TakenOver(False, err.strip() or f"exit code {returned}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            return TakenOver(False, str(error))

    def apply(self, actions: tuple[str, ...]) -> None:
        for action in actions:
            if action == "take_over":
                continue  # done, because only the process knows whether it can
            if action == "reload":
                self.systemctl("daemon-reload")
            else:
                self.systemctl(action, self.name)


def changed_s(path: str) -> float:
    """Return the change time of the file or link in seconds; 0 when it does not exist.

    The modification time would be wrong: a file moved into place keeps it.
    """
    try:
        return Path(path).lstat().st_ctime
    except FileNotFoundError:
        return 0.0


def beside(folder: Path, pattern: str) -> list[str]:
    """Return the units that match the pattern; no units without a pattern."""
    return sorted(path.name for path in folder.glob(pattern)) if pattern else []


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "sources": {"type": "list", "elements": "path", "default": []},
            "restart": {"type": "str", "choices": ["idle", "always", "never"], "default": "always"},
            "busy_command": {"type": "list", "elements": "str"},
            "take_over_command": {"type": "list", "elements": "str", "default": []},
            "take_over_sources": {"type": "list", "elements": "path", "default": []},
            "not_beside": {"type": "str", "default": ""},
        },
        required_if=[["restart", "idle", ["busy_command"]]],
        supports_check_mode=True,
    )
    unit = Unit(module)
    if others := beside(UNITS, module.params["not_beside"]):
        module.fail_json(
            msg=f"{unit.name} is not started beside {', '.join(others)}, which this host has: "
            "stop, disable and remove the units of either"
        )
    observed = unit.observe()
    if observed.masked:
        module.fail_json(msg=f"{unit.name} is masked, so nobody can start it; systemctl unmask {unit.name}")
    if not observed.known and not module.check_mode:
        module.fail_json(msg=f"{unit.name} is not known to systemd; install its unit file first")
    taken_over = None
    if module.params["take_over_command"] and can_take_over(observed, module.params["take_over_sources"]):
        taken_over = TakenOver(False, "") if module.check_mode else unit.take_over()
    wanted = plan(observed, module.params["restart"], taken_over)
    if not module.check_mode:
        unit.apply(wanted.actions)
    module.exit_json(
        changed=bool(wanted.actions),
        actions=list(wanted.actions),
        restart_required=wanted.restart_required,
        reason=wanted.reason,
    )


if __name__ == "__main__":
    main()
