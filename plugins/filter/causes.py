# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that find likely causes of a symptom, such as "high latency", for the playbook diagnose.yml.

``likely_causes`` takes what was read on a host and returns ranked causes. ``causes_table`` prints them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.lowlatency.trading.plugins.module_utils.diagnosis import (
    account,
    causes,
    connecting,
    deploying,
    starting,
    waiting,
)

_RULES = (*starting.RULES, *connecting.RULES, *waiting.RULES, *deploying.RULES, *account.RULES)
_MOST_A_SYMPTOM = 5


def likely_causes(readings: dict[str, Any], symptom: str = "") -> list[dict[str, Any]]:
    """Return the causes that fit a host's readings, the most certain first.

    Each is a dictionary with the fields of the class Cause. With a ``symptom`` only the causes of this symptom are
    returned. Raises AnsibleFilterError for an unknown symptom.
    """
    if symptom and symptom not in causes.SYMPTOMS:
        raise AnsibleFilterError(f"{symptom!r} is no symptom; there are {', '.join(causes.SYMPTOMS)}")
    found = [cause for cause in causes.found_by(_RULES, readings) if not symptom or symptom in cause.symptoms]
    return [asdict(cause) for cause in sorted(found, key=lambda cause: -cause.weight)]


def causes_table(found: list[dict[str, Any]]) -> list[str]:
    """Return the lines to print: each symptom with its five most certain causes, their evidence and their remedies."""
    lines: list[str] = []
    for symptom in causes.SYMPTOMS:
        mine = [cause for cause in found if symptom in cause["symptoms"]][:_MOST_A_SYMPTOM]
        if mine:
            lines.append(f"{symptom}:")
        for number, cause in enumerate(mine, 1):
            lines.append(f"  {number}. {cause['name']}")
            lines += [f"     {line}" for line in cause["lines"]]
            lines.append(f"     -> {cause['do']}")
    return lines or ["nothing that was looked at is out of order"]


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"likely_causes": likely_causes, "causes_table": causes_table}
