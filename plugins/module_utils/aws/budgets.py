# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that bring monthly cost budgets into one comparable form, for the module budget. They send no requests.

Source: AWS Budgets API reference, CreateBudget. A tag is written ``user:KEY$VALUE`` in a filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

# A budget and its notifications: {"budget": …, "notifications": […]}, with the fields of CreateBudget.
Plan = dict[str, Any]


def plan(name: str, limit_usd: float, tags: Mapping[str, str], notifications: Sequence[Mapping[str, Any]]) -> Plan:
    """Return the budget and notifications that the parameters describe, in the form of :func:`in_one_form`."""
    filters = {"TagKeyValue": [f"user:{key}${value}" for key, value in tags.items()]} if tags else {}
    told = [
        (
            {
                "NotificationType": one["kind"],
                "ComparisonOperator": "GREATER_THAN",
                "Threshold": one["percent"],
                "ThresholdType": "PERCENTAGE",
            },
            [_subscriber(address) for address in one["subscribers"]],
        )
        for one in notifications
    ]
    budget = {"BudgetName": name, "BudgetType": "COST", "TimeUnit": "MONTHLY", "CostFilters": filters}
    return in_one_form({**budget, "BudgetLimit": {"Amount": limit_usd, "Unit": "USD"}}, told)


def in_one_form(budget: Mapping[str, Any], notifications: Sequence[tuple[Mapping[str, Any], Sequence[Any]]]) -> Plan:
    """Return a budget in comparable form: only the settings that this module sets, sorted.

    The arguments have the fields of CreateBudget. They come either from the module's parameters or from AWS's answers.
    """
    filters = {key: sorted(values) for key, values in budget.get("CostFilters", {}).items()}
    limit = budget["BudgetLimit"]
    told = [
        {"Notification": identity(found), "Subscribers": sorted(map(dict, subscribers), key=str)}
        for found, subscribers in notifications
    ]
    return {
        "budget": {
            **{key: budget[key] for key in ("BudgetName", "BudgetType", "TimeUnit")},
            "BudgetLimit": {"Amount": _amount(limit["Amount"]), "Unit": limit["Unit"]},
            **({"CostFilters": filters} if filters else {}),
        },
        "notifications": sorted(told, key=str),
    }


def identity(notification: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields by which AWS identifies a notification. The notification's state is not one of them."""
    return {
        "NotificationType": notification["NotificationType"],
        "ComparisonOperator": notification["ComparisonOperator"],
        "Threshold": float(notification["Threshold"]),
        "ThresholdType": notification.get("ThresholdType", "PERCENTAGE"),
    }


def _amount(value: Any) -> str:
    # AWS returns the amount 40 as 40.0, so both are written in the same form.
    return f"{Decimal(str(value)).normalize():f}"


def _subscriber(address: str) -> dict[str, str]:
    return {"SubscriptionType": "SNS" if address.startswith("arn:") else "EMAIL", "Address": address}
