#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: which accounts of people a host has, and who of them was made here."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: people_info
short_description: Read which people's accounts were made here, and which of others they would collide with
version_added: 0.2.0
description:
  - Compare the names of people with the accounts of the host and with the list of those that were made for people.
  - Change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  made:
    description: The file with the names of all accounts that were made, as a JSON list. There is none at first.
    type: path
    required: true
  names:
    description: The names of the people who are to have an account.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read whose accounts there are
  lowlatency.trading.people_info:
    made: /var/lib/trading-people.json
    names: [anna]
  register: people
"""

RETURN = r"""
made:
  description: The people for whom accounts were made, whether they are still there or not.
  type: list
  elements: str
  returned: success
foreign:
  description: Those of O(names) that are accounts or groups of somebody else on this host.
  type: list
  elements: str
  returned: success
  sample: ["debian"]
left:
  description: Those of the made accounts that are not among O(names).
  type: list
  elements: str
  returned: success
"""

import grp
import json
import pwd
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def made_names(path: str) -> list[str]:
    """Return the names in the file, none where there is no file; raises ValueError for another content."""
    try:
        names = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("is no list of names")
    return sorted(set(names))


def observe(path: str, names: list[str]) -> dict[str, list[str]]:
    """Return who is there; raises ValueError when the file cannot be read as what it is."""
    made = made_names(path)
    taken = {entry.pw_name for entry in pwd.getpwall()} | {entry.gr_name for entry in grp.getgrall()}
    return {
        "made": made,
        "foreign": sorted(set(names) & taken - set(made)),
        "left": [name for name in made if name not in names],
    }


def main() -> None:
    """Look."""
    module = AnsibleModule(
        argument_spec={
            "made": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    path = module.params["made"]
    try:
        module.exit_json(changed=False, **observe(path, module.params["names"]))
    except (OSError, ValueError) as error:
        module.fail_json(
            msg=f"{path}: {error}. It names the accounts that were made for people: write them there as a JSON list"
        )


if __name__ == "__main__":
    main()
