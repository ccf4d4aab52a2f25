#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: cloudwatch_dashboard
short_description: Manage a CloudWatch dashboard
version_added: 0.1.0
description:
  - Create, change and delete one CloudWatch dashboard.
  - Fail for a body that CloudWatch would store without an error but draw wrongly. Such a body has overlapping widgets,
    widgets off the grid, or metrics of another region.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  name:
    description: The dashboard's name.
    type: str
    required: true
  body:
    description: The dashboard in the form of CloudWatch's dashboard body. Required when O(state=present).
    type: dict
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.resource
  - lowlatency.trading.common.state
"""

EXAMPLES = r"""
- name: Show the host's CPU
  lowlatency.trading.cloudwatch_dashboard:
    region: us-east-1
    name: trading-demo
    body:
      widgets:
        - {type: text, x: 0, y: 0, width: 24, height: 2, properties: {markdown: "# Trading"}}
"""

RETURN = r"""
name:
  description: The dashboard's name.
  type: str
  returned: success
  sample: trading-demo
"""

import json
import operator
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, cloudwatch


def observe(client: Any, name: str) -> dict[str, Any] | None:
    """Return the dashboard's body, or None when the dashboard does not exist."""
    try:
        body: dict[str, Any] = json.loads(client.get_dashboard(DashboardName=name)["DashboardBody"])
    except client.exceptions.ResourceNotFound:
        return None
    return body


def plan(params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the dashboard's wanted body, or None when the dashboard shall not exist."""
    return params["body"] if params["state"] == "present" else None


def apply(client: Any, name: str, wanted: dict[str, Any] | None) -> list[str]:
    """Put or delete the dashboard. Return CloudWatch's warnings about a body that it accepted."""
    if wanted is None:
        client.delete_dashboards(DashboardNames=[name])
        return []
    answer = client.put_dashboard(DashboardName=name, DashboardBody=json.dumps(wanted, sort_keys=True))
    return [
        f"{found.get('DataPath', '')}: {found['Message']}" for found in answer.get("DashboardValidationMessages", [])
    ]


def main() -> None:
    """Read the dashboard, and bring it to the wanted state unless the run is in check mode."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "body": {"type": "dict"},
            **aws.STATE,
        },
        required_if=[("state", "present", ["body"])],
        supports_check_mode=True,
    )
    name = module.params["name"]
    wanted = plan(module.params)
    if wanted is not None:
        problems = list(cloudwatch.dashboard_problems(wanted, module.region))
        if problems:
            module.fail_json(msg=f"The dashboard {name} would not show what it says: " + "; ".join(problems))
    client = aws.client(module, "cloudwatch")
    done = aws.converge(
        module,
        f"the dashboard {name}",
        lambda: observe(client, name),
        wanted,
        operator.eq,
        lambda current: apply(client, name, wanted),
    )
    for message in done.answer or []:
        module.warn(f"CloudWatch about the dashboard {name}: {message}")
    aws.report(module, done.changed, done.current or {}, wanted or {}, name=name)


if __name__ == "__main__":
    main()
