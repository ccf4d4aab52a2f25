# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of the promise: what verification, telemetry and alarms all follow. Their one home."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DOCUMENTATION = r"""
name: slo_targets
short_description: Complete the user's targets with those of the promise
version_added: 0.2.0
author:
  - lowlatency.trading contributors
description:
  - Returns all targets, those that C(trading_slo) names as it says, the others as promised.
  - Refuses a name that is no target.
options:
  _input:
    description: Targets that differ, by name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the targets where P99 is to stay below 1.5 ms
  ansible.builtin.debug:
    msg: "{{ {'p99_us': 1500} | lowlatency.trading.slo_targets }}"
"""

RETURN = r"""
_value:
  description:
    - A number for each of C(avg_us), C(p95_us), C(p99_us), C(throughput_per_s), C(cpu_percent) and C(memory_percent).
  type: dict
"""

PROMISED = {
    "avg_us": 500,
    "p95_us": 1000,
    "p99_us": 2000,
    "throughput_per_s": 10000,
    "cpu_percent": 80,
    "memory_percent": 90,
}


def slo_targets(own: dict[str, Any]) -> dict[str, Any]:
    """Return every target by its name. Raises ValueError for what is none."""
    if unknown := sorted(set(own) - set(PROMISED)):
        raise ValueError(f"trading_slo: there is no target {', '.join(unknown)}; there are {', '.join(PROMISED)}")
    return {**PROMISED, **own}


class FilterModule:
    """The filter by the name that roles use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it."""
        return {"slo_targets": slo_targets}
