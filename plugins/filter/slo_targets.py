# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter that returns the SLO targets. The roles for verification, telemetry and alarms all use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PROMISED = {
    "avg_us": 500,
    "p95_us": 1000,
    "p99_us": 2000,
    "feed_p99_us": 1000,
    "throughput_per_s": 10000,
    "cpu_percent": 80,
    "memory_percent": 90,
}


ON_ONE_CPU = {"feed_p99_us": 10_000}  # there the feed runs only while the engine is idle


def slo_targets(own: dict[str, Any], cpus: int = 2) -> dict[str, Any]:
    """Return a dictionary: target → its limit, for a host with this number of CPUs.

    ``own`` has the limits that the user has set; they replace the defaults. Raises ValueError for an unknown target.
    """
    if not isinstance(own, dict):
        raise ValueError(f"trading_slo is a dictionary of targets, such as {{p99_us: 1500}}, and not {own!r}")
    if unknown := sorted(set(own) - set(PROMISED)):
        raise ValueError(f"trading_slo: there is no target {', '.join(unknown)}; there are {', '.join(PROMISED)}")
    return {**PROMISED, **(ON_ONE_CPU if cpus < 2 else {}), **own}


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"slo_targets": slo_targets}
