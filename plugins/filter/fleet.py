# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for the Auto Scaling groups and load balancers of a fleet (module_utils/aws: fleet.py, refresh.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.aws import fleet, refresh


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {
            "fleet_balancers": fleet.balancers,
            "fleet_groups": fleet.groups,
            "fleet_left": fleet.left,
            "fleet_problems": fleet.problems,
            "fleet_targets": fleet.targets,
            "fleet_refresh_fault": refresh.fault,
            "fleet_refresh_open": refresh.still_open,
            "fleet_refresh_plan": refresh.plan,
            "fleet_refresh_unhealthy": refresh.unhealthy,
            "fleet_zones": fleet.zones_needed,
        }
