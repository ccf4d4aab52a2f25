# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classes by which modules on a host use the engine's systemd unit and the program `trading-engine` of a release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.release.installed import release_of

# Without these empty values a variable of the user's environment could make Python load other modules than the
# release's.
OWN_MODULES = {"PYTHONPATH": "", "PYTHONHOME": ""}
# The options of fragment common.release.
RELEASE: dict[str, Any] = {
    "root": {"type": "path", "required": True},
    "release": {"type": "str", "required": True},
    "unit": {"type": "str", "default": "trading-engine.service"},
    "config": {"type": "path", "default": "/etc/trading/engine.toml"},
    "journal": {"type": "path", "default": "/var/lib/trading/journal"},
}


class RunningError(Exception):
    """The engine, its unit or a release refused a request. The message quotes its output."""


def said_by(out: str, err: str, returned: int) -> str:
    """Return what a failed program said: the last line of a traceback, or the last 600 characters of its error output.

    When there is no error output, return the ordinary output. When both are empty, return the exit code as text.
    """
    said = err.strip() or out.strip() or f"it ended with {returned}"
    return said.splitlines()[-1] if "Traceback (most recent call last)" in said else said[-600:]


class Unit:
    """A systemd unit of the engine."""

    def __init__(self, module: AnsibleModule, name: str, root: Path) -> None:
        self.module = module
        self.name = name
        self.root = root

    def process(self) -> int:
        """Return the process id of the unit's main process, or 0 when it has none."""
        _returned, out, _err = outside.run(
            self.module, ["systemctl", "show", "--property=MainPID", "--value", self.name]
        )
        return int(out.strip() or 0)

    def release(self) -> str:
        """Return the release that the unit's process runs, or an empty text when no process runs."""
        return release_of(self.root, self.process())

    def do(self, action: str, limit_s: int) -> str:
        """Run `systemctl` with the action start, stop or restart. Return an empty text, or why the action failed."""
        command = ["timeout", "--kill-after=5", str(limit_s), "systemctl", action, self.name]
        returned, out, err = outside.run(self.module, command)
        if returned == 0:
            return ""
        what = f"no end of it in {limit_s} s" if returned == 124 else said_by(out, err, returned)
        _returned, log, _err = outside.run(self.module, ["journalctl", "-u", self.name, "-n", "8", "-o", "cat"])
        last = " | ".join(line for line in log.strip().splitlines() if "trading-engine: error" in line) or what
        return f"systemctl {action} {self.name}: {last}"

    def kill(self) -> None:
        """Send SIGKILL to all processes of the unit."""
        outside.run(self.module, ["systemctl", "kill", "--signal=KILL", self.name])


class Program:
    """The program `trading-engine` of one release."""

    def __init__(self, module: AnsibleModule, root: Path, release: str, prefix: list[str] | None = None) -> None:
        self.module = module
        self.command = [*(prefix or []), str(root / "releases" / release / "bin" / "trading-engine")]
        self.release = release

    def ask(self, *arguments: str) -> str:
        """Run a command of the program `trading-engine` and return its output.

        Raises RunningError when the command fails.
        """
        try:
            returned, out, err = outside.run(
                self.module, [*self.command, *arguments], OWN_MODULES, handle_exceptions=False
            )
        except OSError as error:
            raise RunningError(f"release {self.release} cannot be asked for {arguments[0]}: {error}") from error
        if returned != 0:
            raise RunningError(f"release {self.release}, {arguments[0]}: {said_by(out, err, returned)}")
        return out

    def answer(self, *arguments: str) -> dict[str, Any]:
        """Run a command of the program `trading-engine` and return the JSON object that it prints.

        Raises RunningError when the command fails or prints no JSON.
        """
        out = self.ask(*arguments)
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError as error:
            raise RunningError(f"release {self.release}, {arguments[0]}: no JSON: {out[:200]!r}") from error
        return answer
