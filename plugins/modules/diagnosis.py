#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that runs many diagnostic commands on a host in one task.

A failed command does not fail the module.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis
short_description: Run many diagnostic commands on a host
version_added: 0.1.0
description:
  - Run commands that only read, and return the output and exit code of each.
  - Return the error of a command that fails or does not exist. It does not fail the module.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  commands:
    description: The commands, each a list of words.
    type: list
    elements: list
    required: true
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Ask the host
  lowlatency.trading.diagnosis:
    commands:
      - [systemctl, status, trading-engine.service]
      - [df, -h]
"""

RETURN = r"""
text:
  description: Every command with its output and exit code, one after the other.
  type: str
  returned: always
"""

import shlex

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside


def observe(module: AnsibleModule, command: list[str]) -> str:
    """Run a command and return one text with the command, its output and its exit code."""
    try:
        returned, out, err = outside.run(module, command, handle_exceptions=False)
    except OSError as error:
        returned, out, err = error.errno or 1, "", str(error)
    return f"$ {shlex.join(command)}\n{out}{err}".rstrip() + f"\n[exit code {returned}]\n"


def main() -> None:
    module = AnsibleModule(
        argument_spec={"commands": {"type": "list", "elements": "list", "required": True}},
        supports_check_mode=True,
    )
    commands = [[str(word) for word in command] for command in module.params["commands"]]
    answers = [observe(module, command) for command in commands]
    module.exit_json(changed=False, text="\n".join(answers))


if __name__ == "__main__":
    main()
