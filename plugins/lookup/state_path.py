# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lookup that returns paths on the controller for the collection's results: reports, backups, diagnoses."""

from __future__ import annotations

DOCUMENTATION = r"""
name: state_path
short_description: Name a place in the user's state directory on the controller
version_added: 0.2.0
author:
  - lowlatency.trading contributors (@lowlatency)
description:
  - Returns the path of a file or directory of this collection below E(XDG_STATE_HOME), by default C(~/.local/state).
  - The lookup creates neither files nor directories.
options:
  _terms:
    description: Names below the collection's directory, such as V(reports).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Name the directory of reports
  ansible.builtin.debug:
    msg: "{{ lookup('lowlatency.trading.state_path', 'reports') }}"
"""

RETURN = r"""
_raw:
  description: The path for each name.
  type: list
  elements: str
"""

import os
from typing import Any

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible carries no types
    """The lookup. It joins each given name to the path of the collection's state directory."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **_: Any) -> list[str]:
        """Return the absolute path of each term in the collection's state directory.

        That directory is lowlatency.trading in $XDG_STATE_HOME, or in ~/.local/state when the variable is not set.
        """
        home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        return [os.path.join(home, "lowlatency.trading", term) for term in terms]
