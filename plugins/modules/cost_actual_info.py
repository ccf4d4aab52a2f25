#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that reads from Cost Explorer what an environment has cost in this month."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cost_actual_info
short_description: Read the cost of an environment in this month
version_added: 0.2.0
description:
  - Read from Cost Explorer this month's cost, by service, of the resources with the tags C(Project) and C(Environment).
    Both must be active as cost allocation tags in the account. The cost of a day is available one day later.
  - Call the API once, for which AWS charges 0.01 USD, and once more for each further page.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  environment:
    description: The environment, as in the tag C(Environment).
    type: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read what the environment demo has cost
  lowlatency.trading.cost_actual_info:
    region: us-east-1
    environment: demo
  register: actual
"""

RETURN = r"""
usd:
  description: The cost of the month so far in USD, without credits and refunds.
  type: float
  returned: success
services:
  description: For each service its cost in USD, the highest first.
  type: dict
  returned: success
  sample: {"Amazon Elastic Compute Cloud - Compute": 11.42}
until:
  description: The first day whose cost is not included.
  type: str
  returned: success
  sample: "2026-11-30"
share_of_month:
  description: The share of the month, from 0 to 1, that has passed until then.
  type: float
  returned: success
"""

from calendar import monthrange
from datetime import date, datetime, timedelta, timezone
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

# Cost Explorer has one endpoint for all regions, in this one.
_REGION = "us-east-1"
_METRIC = "UnblendedCost"
_NO_COST = ["Credit", "Refund"]


def span(today: date) -> tuple[date, date]:
    """Return the days whose cost counts, as two dates: the first such day, and the first day after them.

    The days are those of this month before today. If today is the first day of a month, they are the whole previous
    month.
    """
    last = today if today.day > 1 else today - timedelta(days=1)
    return last.replace(day=1), today


def request(environment: str, begin: date, end: date) -> dict[str, Any]:
    """Return the arguments for GetCostAndUsage, so that it returns the environment's cost by service.

    Credits and refunds are left out.
    """
    tags = {"Project": aws.PROJECT, "Environment": environment}
    tagged = [{"Tags": {"Key": key, "Values": [value]}} for key, value in tags.items()]
    charges = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": _NO_COST}}}
    return {
        "TimePeriod": {"Start": begin.isoformat(), "End": end.isoformat()},
        "Granularity": "MONTHLY",
        "Metrics": [_METRIC],
        "Filter": {"And": [*tagged, charges]},
        "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}],
    }


def observe(client: Any, environment: str, today: date) -> dict[str, Any]:
    """Return the module's results (see RETURN).

    This function requests each page of the answer itself, because botocore has no paginator for Cost Explorer.
    """
    begin, end = span(today)
    asked = request(environment, begin, end)
    services: dict[str, float] = {}
    token: dict[str, str] = {}
    while True:
        answer = client.get_cost_and_usage(**asked, **token)
        for result in answer["ResultsByTime"]:
            for group in result["Groups"]:
                name = group["Keys"][0]
                services[name] = services.get(name, 0.0) + float(group["Metrics"][_METRIC]["Amount"])
        if not answer.get("NextPageToken"):
            break
        token = {"NextPageToken": answer["NextPageToken"]}
    ordered = sorted(services.items(), key=lambda one: -one[1])
    return {
        "usd": round(sum(services.values()), 2),
        "services": {name: round(usd, 2) for name, usd in ordered},
        "until": end.isoformat(),
        "share_of_month": round((end - begin).days / monthrange(begin.year, begin.month)[1], 4),
    }


def main() -> None:
    """Read the cost and report it."""
    module = AnsibleAWSModule(
        argument_spec={"environment": {"type": "str", "required": True}}, supports_check_mode=True
    )
    environment = module.params["environment"]
    with aws.explained(module, f"read the cost of environment {environment}"):
        client = aws.client(module, "ce", region=_REGION)
        found = observe(client, environment, datetime.now(timezone.utc).date())
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
