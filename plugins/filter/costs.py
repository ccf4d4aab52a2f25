# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that suggest how a deployment could cost less, and print its cost, for the playbook cost.yml."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import savings

# Ansible indents and quotes what it prints, so fewer than a terminal's 80 columns are left for a line.
_COLUMNS = 70


def cost_suggestions(
    uses: dict[str, dict[str, Any]], about: dict[str, Any], limits: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the possible savings, the largest first, as dictionaries with the fields of savings.Suggestion.

    ``uses`` maps hosts to their CPU use. ``about`` describes the deployment; savings.suggestions lists its keys.
    ``limits`` has the fields of savings.Limits. Raises AnsibleFilterError for limits outside their ranges.
    """
    given = savings.Limits(**{name: float(value) for name, value in limits.items()})
    if not 0 < given.idle_percent < given.busy_percent <= 100 or not 0 < given.hours_a_week <= savings.HOURS_A_WEEK:
        raise AnsibleFilterError(
            "aws_cost_idle_percent has to be above 0 and below aws_cost_busy_percent, that at most 100, and "
            f"aws_cost_hours_a_week at most {savings.HOURS_A_WEEK}"
        )
    return savings.suggestions(uses, about, given)


def _wrapped(text: str, begin: str) -> list[str]:
    return textwrap.wrap(text, _COLUMNS, initial_indent=begin, subsequent_indent=" " * len(begin))


def _uses(uses: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, use in uses.items():
        if use["hours"]:
            said = f"{name}: CPUs busy {use['average']:.1f} % on average, {use['highest']:.1f} % in the busiest hour"
            yield from _wrapped(f"{said}, of {use['hours']} hours", "  ")
        else:
            yield from _wrapped(f"{name}: CloudWatch has no sample of its CPUs", "  ")


def _actual(actual: dict[str, Any], month_usd: float) -> Iterator[str]:
    if "usd" not in actual:
        yield from _wrapped(f"actual: {actual['problem']}", "  ")
        return
    for service, usd in actual["services"].items():
        yield f"  {service[:46]:<48}{usd:>10.2f}"
    yield f"  {'actual of this month until ' + actual['until']:<48}{actual['usd']:>10.2f}"
    yield f"  {'the estimate for the same time':<48}{month_usd * actual['share_of_month']:>10.2f}"
    if not actual["usd"]:
        text = "nothing was billed under the tags Project and Environment: are both cost allocation tags?"
        yield from _wrapped(text, "  ")


def cost_table(
    suggested: list[dict[str, Any]], uses: dict[str, dict[str, Any]], actual: dict[str, Any], month_usd: float
) -> list[str]:
    """Return the lines to print: estimated and actual cost, CPU use, and possible savings. Amounts are in USD."""
    lines = [
        f"estimate: {month_usd:.2f} USD a month, by list prices",
        *_actual(actual, month_usd),
        "use:",
        *_uses(uses),
    ]
    lines.append("could be saved, USD a month; one excludes another:" if suggested else "nothing to be saved was found")
    for one in suggested:
        lines += [f"  {one['usd']:>8.2f}  {one['name']}"]
        lines += [*_wrapped(one["why"], " " * 12), *_wrapped(one["how"], f"{' ' * 12}-> ")]
    return lines


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"cost_suggestions": cost_suggestions, "cost_table": cost_table}
