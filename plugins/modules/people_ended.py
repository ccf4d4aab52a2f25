#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that closes people's Linux accounts and ends their open sessions."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: people_ended
short_description: Remove people's keys, rights and open sessions
version_added: 0.2.0
description:
  - Remove the file of a person's SSH keys, close the account, and end all processes that run as that user.
  - Leave a closed account expired, without a login shell and without additional groups. Keep its name and its files, so
    that no other user gets them.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  names:
    description: The names of the accounts. An account that does not exist is no error.
    type: list
    elements: str
    required: true
  keys:
    description: The directory with a file of SSH keys for each account.
    type: path
    required: true
  account:
    description:
      - The state in which the accounts are left. With V(removed) their home directories are removed as well.
      - The value V(kept) is for people who lose a key or a group. Their keys are removed and their sessions ended. They
        can log in again after their keys have been written again. The person who runs the play keeps keys and sessions,
        and is named in RV(spared).
    type: str
    choices: [closed, removed, kept]
    default: closed
  seconds:
    description: >-
      The longest wait in seconds for the end of killed processes. A process that waits for a disk does not end at once.
    type: int
    default: 5
attributes:
  check_mode:
    support: full
    description: Report what would be done.
  diff_mode:
    support: none
    description: RV(actions) says what was done.
"""

EXAMPLES = r"""
- name: Close the account of somebody who left
  lowlatency.trading.people_ended:
    names: [anna]
    keys: /etc/ssh/trading-keys
"""

RETURN = r"""
actions:
  description: One text for each action.
  type: list
  elements: str
  returned: success
  sample: ["anna: account closed", "anna: processes ended"]
spared:
  description: The name of the person who runs the play, if it is in O(names) and O(account=kept).
  type: list
  elements: str
  returned: success
"""

import contextlib
import os
import pwd
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

_NOLOGIN = "/usr/sbin/nologin"
_EXPIRED = "1"  # the second day of 1970
_PAUSE_S = 0.05
_PROC = Path("/proc")


def uids_of(status: str) -> set[int]:
    """Return the real, effective, saved and file system user ids of a process, from the text of /proc/PID/status."""
    for line in status.splitlines():
        if line.startswith("Uid:"):
            return {int(word) for word in line.split()[1:]}
    return set()


def processes_of(uid: int) -> list[int]:
    """Return the ids of a user's processes. Zombies are left out."""
    found = []
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = (folder / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:  # the process has ended in the meantime
            continue
        if uid in uids_of(status) and "\nState:\tZ" not in status:
            found.append(int(folder.name))
    return found


@dataclass(frozen=True)
class Observed:
    """The state of a person's account. `uid` is None when the account does not exist."""

    uid: int | None
    has_keys: bool
    is_closed: bool
    has_processes: bool


def is_closed(name: str, shell: str, expiry: str, groups: list[str]) -> bool:
    """Return whether an account is closed: it permits no login and has no additional groups."""
    return shell == _NOLOGIN and expiry == _EXPIRED and groups in ([], [name])


def plan(observed: Observed, account: str) -> list[str]:
    """Return the names of the actions in their order. New logins are prevented before open sessions are ended."""
    wanted = {
        "keys removed": observed.has_keys,
        "account closed": account != "kept" and observed.uid is not None and not observed.is_closed,
        "processes ended": observed.has_processes,
        "account removed": observed.uid is not None and account == "removed",
    }
    return [action for action, is_wanted in wanted.items() if is_wanted]


class Account:
    """A person's Linux account on a host."""

    def __init__(self, module: AnsibleModule, name: str) -> None:
        self.module = module
        self.name = name
        self.keys = Path(module.params["keys"], name)

    def run(self, *command: str, may_fail: bool = False) -> str:
        """Run a command and return its output. When the command fails, the module fails, unless `may_fail` is set."""
        code, out, error = outside.run(self.module, list(command))
        if code and not may_fail:
            self.module.fail_json(msg=f"{' '.join(command)} failed: {error.strip() or out.strip()}")
        return out

    def observe(self) -> Observed:
        """Return the present state of the account on the host."""
        try:
            entry = pwd.getpwnam(self.name)
        except KeyError:
            return Observed(None, self.keys.exists(), False, False)
        shadow = self.run("getent", "shadow", self.name, may_fail=True).strip().split(":")
        groups = self.run("id", "--name", "--groups", self.name).split()
        closed = is_closed(self.name, entry.pw_shell, shadow[7] if len(shadow) > 7 else "", groups)
        return Observed(entry.pw_uid, self.keys.exists(), closed, bool(processes_of(entry.pw_uid)))

    def apply(self, uid: int | None, actions: list[str]) -> None:
        """Do the planned actions, such as to lock the account, and end the user's processes."""
        if "keys removed" in actions:
            self.keys.unlink()
        if "account closed" in actions:
            self.run("usermod", "--shell", _NOLOGIN, "--expiredate", _EXPIRED, "--groups", "", self.name)
        if uid is not None:  # always: somebody may have logged in since
            self.end_processes(uid)
        if "account removed" in actions:
            self.run("userdel", "--remove", self.name)

    def end_processes(self, uid: int) -> None:
        """Kill all processes that run as this user or belong to the user's sessions.

        The module fails when some still run after the time in the option `seconds`.
        """
        left = processes_of(uid)
        if left:
            # logind keeps a user's sessions in this slice. Without logind the slice does not exist.
            self.run("systemctl", "kill", "--signal=KILL", f"user-{uid}.slice", may_fail=True)
        seconds = self.module.params["seconds"]
        end_s = time.monotonic() + seconds
        while left:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if time.monotonic() > end_s:
                self.module.fail_json(
                    msg=f"{self.name} is closed, but these processes of that user go on after {seconds} s: "
                    f"{', '.join(map(str, left))}. Look at them (ps -p), and restart the host where nothing ends them"
                )
            time.sleep(_PAUSE_S)
            left = processes_of(uid)


def main() -> None:
    """Close the given accounts, and report the actions."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "keys": {"type": "path", "required": True, "no_log": False},
            "account": {"type": "str", "choices": ["closed", "removed", "kept"], "default": "closed"},
            "seconds": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    names, kept = module.params["names"], module.params["account"] == "kept"
    if "root" in names:
        module.fail_json(msg="root is nobody's account, and is not ended")
    spared = [name for name in names if name == os.environ.get("SUDO_USER")]
    if spared and not kept:
        module.fail_json(
            msg=f"{spared[0]} is who runs this: have another deployer, or the host's first user, end the account"
        )
    actions = []
    for name in names:
        if name in spared:
            continue
        account = Account(module, name)
        observed = account.observe()
        planned = plan(observed, module.params["account"])
        if not module.check_mode:
            account.apply(observed.uid, planned)
        actions += [f"{name}: {action}" for action in planned]
    module.exit_json(changed=bool(actions), actions=outside.printable(actions), spared=spared)


if __name__ == "__main__":
    main()
