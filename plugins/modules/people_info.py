#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that reads which accounts of people exist on a host, and which of them this collection made."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: people_info
short_description: Read which accounts were made for people, and which names are taken by others
version_added: 0.2.0
description:
  - Compare the names of people with the host's accounts and with the list of accounts that were made for people.
  - Change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  made:
    description: >-
      The file with the names of all accounts that were made, as a JSON list. The file does not exist before the first.
    type: path
    required: true
  names:
    description: The names of the people who shall have an account.
    type: list
    elements: str
    default: []
  people:
    description: The keys and roles that people shall have. Without this option RV(reduced) is empty.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the account.
        type: str
        required: true
      keys:
        description: The public SSH keys.
        type: list
        elements: str
        required: true
      role:
        description: The role, one of O(roles).
        type: str
        required: true
  roles:
    description: The additional groups of each role, as lists of names.
    type: dict
    default: {}
  keys:
    description: The directory with a file of SSH keys for each account.
    type: path
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
  description: The people for whom accounts were made, including accounts that no longer exist.
  type: list
  elements: str
  returned: success
foreign:
  description: The names in O(names) that other accounts or groups on this host have.
  type: list
  elements: str
  returned: success
  sample: ["debian"]
left:
  description: The made accounts that are not in O(names).
  type: list
  elements: str
  returned: success
reduced:
  description: >-
    The made accounts that have a key or a group which O(people) does not give them. Accounts without a file of keys are
    included, because they show that a run was interrupted while it removed something.
  type: list
  elements: str
  returned: success
"""

import grp
import json
import pwd
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def made_names(path: str) -> list[str]:
    """Return, sorted, the account names in the file of accounts that this collection made.

    Return an empty list without a file. Raises ValueError for malformed content.
    """
    try:
        names = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("is no list of names")
    return sorted(set(names))


def key_of(line: str) -> tuple[str, ...]:
    """Return the type and content of a public key, without its comment. The line must not begin with options."""
    return tuple(line.split()[:2])


def loses(person: dict[str, Any], groups: list[str], keys: Path) -> bool:
    """Return whether a person's account has a key or a group that it must lose, or has no file of keys."""
    held_groups = {entry.gr_name for entry in grp.getgrall() if person["name"] in entry.gr_mem}
    try:
        lines = (keys / person["name"]).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return True
    held_keys = {key_of(line) for line in lines if line.strip() and not line.startswith("#")}
    return bool(held_keys - {key_of(key) for key in person["keys"]} or held_groups - set(groups))


def observe(
    path: str, names: list[str], people: list[dict[str, Any]], roles: dict[str, list[str]], keys: str
) -> dict[str, list[str]]:
    """Return the module's results (see RETURN): names of accounts by their state.

    Raises ValueError when the file of made accounts is malformed.
    """
    made = made_names(path)
    accounts = {entry.pw_name for entry in pwd.getpwall()} & set(made)
    taken = {entry.pw_name for entry in pwd.getpwall()} | {entry.gr_name for entry in grp.getgrall()}
    return {
        "made": made,
        "foreign": sorted(set(names) & taken - set(made)),
        "left": [name for name in made if name not in names],
        "reduced": [
            person["name"]
            for person in people
            if person["name"] in accounts and loses(person, roles[person["role"]], Path(keys))
        ],
    }


def main() -> None:
    """Read the accounts and report them."""
    module = AnsibleModule(
        argument_spec={
            "made": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "people": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
                    "role": {"type": "str", "required": True},
                },
            },
            "roles": {"type": "dict", "default": {}},
            "keys": {"type": "path", "no_log": False},
        },
        required_by={"people": ["keys", "roles"]},
        supports_check_mode=True,
    )
    path = module.params["made"]
    try:
        given = {name: module.params[name] for name in ("names", "roles", "keys")}
        module.exit_json(changed=False, **observe(path, people=module.params["people"] or [], **given))
    except (OSError, ValueError) as error:
        module.fail_json(
            msg=f"{path}: {error}. It names the accounts that were made for people: write them there as a JSON list"
        )


if __name__ == "__main__":
    main()
