# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection keeps on the controller what it made for the user: reports, backups, diagnoses."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible carries no types
    """Paths below the collection's state directory."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **_: Any) -> list[str]:
        """Return the path of each term."""
        home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        return [os.path.join(home, "lowlatency.trading", term) for term in terms]
