# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions by which modules run programs. The output is in English, and bytes that are not UTF-8 are escaped."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

# SSH may pass the locale of the user to the host. Modules parse output, so its language must not depend on that.
ENGLISH = {"LANG": "C", "LANGUAGE": "C", "LC_ALL": "C"}


def run(
    module: AnsibleModule, command: list[str], environment: dict[str, str] | None = None, **more: Any
) -> tuple[int, str, str]:
    """Run a command with English messages; return its exit code, output and error output as printable text.

    `more` are further arguments of AnsibleModule.run_command.
    """
    update = {**ENGLISH, **(environment or {})}
    returned, out, err = module.run_command(command, environ_update=update, errors="backslashreplace", **more)
    return int(returned), str(out), str(err)


def printable(value: Any) -> Any:
    """Return a module's result in which each byte that is not UTF-8 is escaped, such as \\xfc.

    Ansible accepts only valid UTF-8. Other bytes occur in names of processes, interfaces and files, and in values of
    the kernel.
    """
    if isinstance(value, str):
        return value.encode(errors="surrogateescape").decode(errors="backslashreplace")
    if isinstance(value, dict):
        return {printable(key): printable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(one) for one in value]
    return value
