# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of the module playbook_run: it runs a playbook of this collection as a separate process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.lowlatency.trading.plugins.module_utils.acceptance import child

_SPEC = {
    "playbook": {"type": "path", "required": True},
    "inventory": {"type": "str", "default": "localhost,"},
    "inventories": {"type": "list", "elements": "str", "default": []},
    "check": {"type": "bool", "default": False},
    "variables": {"type": "dict", "default": {}},
    "folder": {"type": "path", "required": True},
    "limit_seconds": {"type": "int", "required": True},
}
# Options of the running ansible-playbook that are passed on to the new process.
_OPENS = {
    "vault_ids": "--vault-id",
    "vault_password_files": "--vault-password-file",
    "become_password_file": "--become-password-file",
    "connection_password_file": "--connection-password-file",
    "private_key_file": "--private-key",
    "remote_user": "--user",
}


def command(given: dict[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Return the command line of ansible-playbook as a list of words.

    When a variable is given twice, Ansible uses the later value. So the module's variables come after the user's
    variables.
    """
    words = [sys.executable, "-m", "ansible", "playbook"]
    for one in given.get("inventories") or [given["inventory"]]:
        words += ["-i", one]
    words += ["--check"] if given.get("check") else []
    # Without these options the new process cannot decrypt the user's files or log in to the hosts.
    for option, names in _OPENS.items():
        values = options.get(option) or []
        for value in [values] if isinstance(values, str) else values:
            words += [names, str(value)]
    for one in options.get("extra_vars", ()):
        words += ["-e", one]
    return [*words, "-e", f"@{os.path.join(given['folder'], 'variables.json')}", given["playbook"]]


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible carries no types
    """The action plugin of the module playbook_run.

    It runs on the controller, in the process of the play that uses the module. It also reads that play's command-line
    options.
    """

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the playbook and return the module's result, which tells how the playbook ended.

        This action succeeds even when the playbook fails. Raises AnsibleError when the folder exists or cannot be made.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(argument_spec=_SPEC)[1]
        folder, log = given["folder"], os.path.join(given["folder"], "log")
        try:
            os.makedirs(folder, mode=0o700)
            with open(os.path.join(folder, "variables.json"), "w", encoding="utf-8") as file:
                json.dump(given["variables"], file)
        except OSError as error:
            raise AnsibleError(f"{error.filename}: {error.strerror}; give a folder that does not exist") from error
        environment = {
            **os.environ,
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit",
            "JUNIT_OUTPUT_DIR": folder,
            "JUNIT_HIDE_TASK_ARGUMENTS": "true",
            "ANSIBLE_NOCOLOR": "1",
        }
        ended = child.run(command(given, context.CLIARGS), environment, log, given["limit_seconds"])
        done = child.tasks(folder)
        failed = [one for one in done if one["outcome"] == "failed"] if ended.code else []
        outcome = "limit" if ended.limit_reached else "failed" if ended.code else "ok"
        result.update(
            changed=True,
            outcome=outcome,
            seconds=ended.seconds,
            tasks=done,
            changes=[{"host": one["host"], "task": one["task"]} for one in done if one["changed"]],
            denials=child.denials(log),
            failed_task=failed[-1]["task"] if failed else "",
            message="" if outcome == "ok" else failed[-1]["message"] if failed else child.last_lines(log),
        )
        return result
