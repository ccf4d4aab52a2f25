#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that enables a systemd unit, and restarts it when its files changed after its process began.

On request it restarts the unit only while no client is connected.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: fresh_unit
short_description: Keep a systemd unit enabled, and running on its present files
version_added: 0.1.0
description:
  - Enable and start a unit, and restart it when one of its files changed after its process began.
  - Compare the process with its files at each run, instead of a notified handler. If a play is interrupted between a
    change and the restart, the next play restarts the unit.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  name:
    description: The unit, with its suffix.
    type: str
    required: true
  sources:
    description:
      - The files and links on which the process depends, in addition to the unit's own file and drop-ins.
      - The change of a link itself counts, not that of its target.
    type: list
    elements: path
    default: []
  restart:
    description:
      - Restart the unit when a source changed after the process began (V(always)), or only report that (V(never)).
      - Restart with V(idle) when O(busy_command) reports no clients, and otherwise only report that a restart is
        required.
    type: str
    choices: [idle, always, never]
    default: always
  busy_command:
    description:
      - A command that prints one JSON object about the running process. Its C(sessions_open) is the number of clients
        that a restart would disturb. Required by V(idle).
      - The unit counts as busy when the command fails.
    type: list
    elements: str
  take_over_command:
    description:
      - A command that makes the running process read its changed O(take_over_sources) again, without a restart. It
        prints a JSON object whose C(changed) says whether they had changed.
      - The command runs instead of a restart, for any value of O(restart), when no other source changed after the
        process began. When it fails, O(restart) applies.
    type: list
    elements: str
    default: []
  take_over_sources:
    description: The files in O(sources) that O(take_over_command) makes the process read again.
    type: list
    elements: path
    default: []
  not_beside:
    description:
      - A pattern of unit files in C(/etc/systemd/system), such as V(trading-engine@*.service). The module fails when
        the host has such a unit, because the two must not run on one host.
    type: str
    default: ""
    version_added: 0.2.0
attributes:
  check_mode:
    support: full
    description:
      - Report what would be done, except for O(take_over_command), because its result cannot be known in advance.
  diff_mode:
    support: none
    description: RV(reason) says why the unit is restarted.
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
  description: The actions taken, of C(take_over), C(reload), C(enable), C(start), C(restart).
  type: list
  elements: str
  returned: success
restart_required:
  description: Whether the process still runs with older versions of its files.
  type: bool
  returned: success
reason:
  description: Why the unit was started or restarted, or why it was not restarted.
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
    """The state of a unit. `younger` are the files of the unit that changed after its process began."""

    known: bool
    masked: bool
    enabled: bool
    active: bool
    needs_reload: bool
    younger: tuple[str, ...]
    disturbed: int | None  # number of clients that a restart would disturb; None: unknown


@dataclass(frozen=True)
class Plan:
    actions: tuple[str, ...]
    restart_required: bool
    reason: str


@dataclass(frozen=True)
class TakenOver:
    """The result of the option take_over_command, by which a running process reads its changed files again.

    `error` is empty when the process now uses its new files.
    """

    changed: bool
    error: str


def can_take_over(observed: Observed, sources: list[str]) -> bool:
    """Return whether all changed files are ones that the process can read again while it runs."""
    return bool(observed.younger) and set(observed.younger) <= set(sources) and not observed.needs_reload


def plan(observed: Observed, restart: str, taken_over: TakenOver | None = None) -> Plan:
    """Return the actions that make the unit run on its present files, as far as the option `restart` allows them."""
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
    """Return the start time of a process as Unix time in seconds, or 0 when it never started.

    `printed` is the time as every version of systemd prints it, in UTC, to the second. The weekday is not parsed,
    because Python knows it only in the locale's language. `monotonic_us` is exact, and counted from the boot, which was
    at `booted_s`. When the two times differ, the clock was set in between. Then the earlier time counts: one restart
    too many is better than one too few.
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
        """Return the number of clients that a restart would disturb, or None when it is unknown."""
        try:
            command = self.module.params["busy_command"]
            returned, out, _err = outside.run(self.module, command, handle_exceptions=False)
            return int(json.loads(out)["sessions_open"]) if returned == 0 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def take_over(self) -> TakenOver:
        """Run the option take_over_command, which makes the process read its changed files again."""
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
                continue  # main() has already run it
            if action == "reload":
                self.systemctl("daemon-reload")
            else:
                self.systemctl(action, self.name)


def changed_s(path: str) -> float:
    """Return the Unix time of the last change (ctime) of a file or link; 0 when it does not exist.

    The modification time (mtime) would be wrong, because a file that is moved into place keeps its old one.
    """
    try:
        return Path(path).lstat().st_ctime
    except FileNotFoundError:
        return 0.0


def beside(folder: Path, pattern: str) -> list[str]:
    """Return the names of the unit files in `folder` that match the pattern. The unit must not run beside these.

    An empty pattern matches no file.
    """
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
