#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that finds names of playbooks and variables that do not exist.

It searches documents for names of both kinds, and a run's settings for names of variables.
"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: documents_info
short_description: Find playbooks and variables that are named or set but do not exist
version_added: 0.2.0
description:
  - Look in the collection's documents for playbooks, and for variables that are given by C(-e). Return those that do
    not exist in the collection.
  - Return the names in O(variables) that no role reads.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  folder:
    description: The folder of the collection.
    type: path
    required: true
  variables:
    description: The names of variables that are set.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Look for mistyped variables
  lowlatency.trading.documents_info:
    folder: ~/.ansible/collections/ansible_collections/lowlatency/trading
    variables: [trading_operator_cidr, trading_clent_cidrs]
"""

RETURN = r"""
pages:
  description: The number of documents.
  type: int
  returned: success
named:
  description: The number of different commands and variables that they name.
  type: int
  returned: success
unknown_playbooks:
  description: The playbooks that a document names but that do not exist, each with the document.
  type: list
  elements: str
  returned: success
unknown_variables:
  description: The variables that no role reads, each with the document if a document names it.
  type: list
  elements: str
  returned: success
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

_PLAYBOOK = re.compile(r"ansible-playbook lowlatency\.trading\.([a-z_]+)|(?<![\w/])playbooks/([a-z_]+)\.yml")
# A variable that a document gives by -e. Ansible's own variables (ansible_…) are left out.
_GIVEN = re.compile(r"-e ['\"]?\{?['\"]?(?!ansible_)([a-z][a-z0-9]*_[a-z0-9_]+)['\"]?[=:]")
_SHARED = re.compile(r"\b(?:trading|destroy|drill|readiness)_[a-z0-9_]+")


def known_variables(folder: Path) -> set[str]:
    """Return the names of all roles' inputs, and of all variables that defaults and playbooks use."""
    texts = [
        path.read_text(encoding="utf-8")
        for pattern in ("roles/*/meta/argument_specs.yml", "roles/*/defaults/main.yml", "playbooks/*.yml")
        for path in folder.glob(pattern)
    ]
    inputs = {name for text in texts for name in re.findall(r"^\s*([a-z][a-z0-9_]+):", text, re.MULTILINE)}
    return inputs | {name for text in texts for name in _SHARED.findall(text)}


def observe(folder: Path, variables: list[str]) -> dict[str, Any]:
    """Return the module's results (see RETURN): counts, and the names that do not exist."""
    playbooks = {path.stem for path in (folder / "playbooks").glob("*.yml")}
    known = known_variables(folder)
    pages = sorted([*folder.glob("*.md"), *(folder / "docs").rglob("*.md")])
    named, no_playbook, no_variable = set(), [], []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        verbs = {first or second for first, second in _PLAYBOOK.findall(text)}
        given = set(_GIVEN.findall(text))
        named |= verbs | given
        no_playbook += [f"{verb} ({page.relative_to(folder)})" for verb in sorted(verbs - playbooks)]
        no_variable += [f"{name} ({page.relative_to(folder)})" for name in sorted(given - known)]
    no_variable += sorted(set(variables) - known)
    return {
        "pages": len(pages),
        "named": len(named),
        "unknown_playbooks": no_playbook,
        "unknown_variables": no_variable,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "variables": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        found = observe(Path(module.params["folder"]).resolve(), module.params["variables"])
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
