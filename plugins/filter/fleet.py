# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups and balancers of a fleet, as the roles on the controller need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.aws import fleet


class FilterModule:
    """The filters by the names that roles use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "fleet_balancers": fleet.balancers,
            "fleet_groups": fleet.groups,
            "fleet_left": fleet.left,
            "fleet_problems": fleet.problems,
            "fleet_zones": fleet.zones_needed,
        }
