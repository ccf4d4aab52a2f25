#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: budget
short_description: Manage a monthly cost budget that notifies subscribers
version_added: 0.2.0
description:
  - Create, change and delete one monthly cost budget of AWS Budgets with its notifications.
  - Give a warning and treat the budget as absent, with O(state=absent), when the caller lacks the permission to read
    budgets or cannot reach AWS Budgets.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  account:
    description: The number of the AWS account.
    type: str
    required: true
  name:
    description: The budget's name.
    type: str
    required: true
  limit_usd:
    description: The budget in USD a month. Required when O(state=present).
    type: float
  tags:
    description:
      - Count only costs of resources with one of these tags; they must be active as cost allocation tags.
      - An empty value counts the costs of the whole account.
    type: dict
    default: {}
  notifications:
    description: The notifications, each with its threshold and its subscribers.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Compare the actual cost with the budget, or the month's forecast.
        type: str
        choices: [ACTUAL, FORECASTED]
        required: true
      percent:
        description: The percentage of the budget above which the subscribers are notified.
        type: float
        required: true
      subscribers:
        description: The ARN of an SNS topic, or e-mail addresses; 1 to 11.
        type: list
        elements: str
        required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.resource
  - lowlatency.trading.common.state
"""

EXAMPLES = r"""
- name: Tell the operator before a month costs more than 40 USD
  lowlatency.trading.budget:
    region: us-east-1
    account: "123456789012"
    name: trading-demo
    limit_usd: 40
    tags: {Environment: demo}
    notifications:
      - {kind: FORECASTED, percent: 100, subscribers: [operator@example.com]}
      - {kind: ACTUAL, percent: 80, subscribers: [operator@example.com]}
"""

RETURN = r"""
name:
  description: The budget's name.
  type: str
  returned: success
  sample: trading-demo
"""

import functools
import operator
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, budgets


def observe(client: Any, account: str, name: str) -> budgets.Plan | None:
    """Return the budget with its notifications in comparable form, or None when it does not exist."""
    key = {"AccountId": account, "BudgetName": name}
    try:
        budget = client.describe_budget(**key)["Budget"]
    except client.exceptions.NotFoundException:
        return None
    pages = client.get_paginator("describe_notifications_for_budget").paginate(**key)
    notifications = [
        (found, _subscribers(client, key, found)) for page in pages for found in page.get("Notifications", [])
    ]
    return budgets.in_one_form(budget, notifications)


def _subscribers(client: Any, key: dict[str, str], notification: dict[str, Any]) -> list[dict[str, str]]:
    answer = client.describe_subscribers_for_notification(**key, Notification=budgets.identity(notification))
    found: list[dict[str, str]] = answer["Subscribers"]
    return found


def found_to_delete(module: Any, client: Any, account: str, name: str) -> budgets.Plan | None:
    """Return the budget that is to be deleted, or None when it does not exist.

    When AWS does not let the caller read the budget, give a warning and return None. This must not fail, because a run
    that destroys an environment must go on to delete other resources.
    """
    from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

    try:
        return observe(client, account, name)
    except (ClientError, ConnectTimeoutError, EndpointConnectionError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] not in aws.NOT_ALLOWED:
            raise
        said = aws.explain(error, f"read the budget {name}", module.region)
        module.warn(f"{said}; it is taken as none: where you made one, delete it under Billing, Budgets")
        return None


def plan(given: dict[str, Any]) -> budgets.Plan | None:
    """Return the budget that the parameters describe, or None when it shall not exist."""
    if given["state"] == "absent":
        return None
    planned: budgets.Plan = budgets.plan(given["name"], given["limit_usd"], given["tags"], given["notifications"])
    return planned


def apply(client: Any, account: str, name: str, current: budgets.Plan | None, wanted: budgets.Plan | None) -> None:
    """Create, change or delete the budget.

    AWS identifies a notification by all its fields. So a changed notification is deleted and created again.
    """
    key = {"AccountId": account, "BudgetName": name}
    if wanted is None:
        client.delete_budget(**key)
        return
    if current is None:
        client.create_budget(
            AccountId=account, Budget=wanted["budget"], NotificationsWithSubscribers=wanted["notifications"]
        )
        return
    if current["budget"] != wanted["budget"]:
        client.update_budget(AccountId=account, NewBudget=wanted["budget"])
    for gone in current["notifications"]:
        if gone not in wanted["notifications"]:
            client.delete_notification(**key, Notification=gone["Notification"])
    for new in wanted["notifications"]:
        if new not in current["notifications"]:
            client.create_notification(**key, **new)


def main() -> None:
    """Read the budget, and bring it to the wanted state unless the run is in check mode."""
    notification = {
        "kind": {"type": "str", "choices": ["ACTUAL", "FORECASTED"], "required": True},
        "percent": {"type": "float", "required": True},
        "subscribers": {"type": "list", "elements": "str", "required": True},
    }
    module = AnsibleAWSModule(
        argument_spec={
            "account": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "limit_usd": {"type": "float"},
            "tags": {"type": "dict", "default": {}},
            "notifications": {"type": "list", "elements": "dict", "default": [], "options": notification},
            **aws.STATE,
        },
        required_if=[("state", "present", ["limit_usd"])],
        supports_check_mode=True,
    )
    given = module.params
    account, name = given["account"], given["name"]
    client = aws.client(module, "budgets")
    wanted = plan(given)
    if given["state"] == "present":
        look = functools.partial(observe, client, account, name)
    else:
        look = functools.partial(found_to_delete, module, client, account, name)
    done = aws.converge(
        module,
        f"the budget {name}",
        look,
        wanted,
        operator.eq,
        lambda current: apply(client, account, name, current, wanted),
    )
    aws.report(module, done.changed, done.current or {}, wanted or {}, name=name)


if __name__ == "__main__":
    main()
