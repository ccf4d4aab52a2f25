#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: scheduler_schedule
short_description: Manage a schedule that calls an AWS API at given times
version_added: 0.2.0
description:
  - Create, change and delete one schedule of Amazon EventBridge Scheduler in its default group.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  name:
    description: The schedule's name, 1 to 64 letters, digits, C(-), C(_) and C(.).
    type: str
    required: true
  expression:
    description:
      - The times as a schedule expression of EventBridge Scheduler, such as C(cron(0 7 ? * MON-FRI *\)).
        Required when O(state=present).
    type: str
  timezone:
    description: The time zone of O(expression).
    type: str
    default: UTC
  target_arn:
    description: >-
      The ARN of the API call, such as C(arn:aws:scheduler:::aws-sdk:ec2:stopInstances). Required when O(state=present).
    type: str
  role_arn:
    description: The ARN of the role that the scheduler assumes for the call. Required when O(state=present).
    type: str
  input:
    description: The parameters of the call.
    type: dict
    default: {}
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.resource
  - lowlatency.trading.common.state
"""

EXAMPLES = r"""
- name: Stop a development host in the evening
  lowlatency.trading.scheduler_schedule:
    region: us-east-1
    name: trading-demo-stop
    expression: cron(0 19 ? * MON-FRI *)
    timezone: Europe/Berlin
    target_arn: arn:aws:scheduler:::aws-sdk:ec2:stopInstances
    role_arn: arn:aws:iam::123456789012:role/lowlatency-trading/demo/trading-demo-hours
    input:
      InstanceIds: [i-0123456789abcdef0]
"""

RETURN = r"""
name:
  description: The schedule's name.
  type: str
  returned: success
  sample: trading-demo-stop
"""

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws


def observe(client: Any, name: str) -> dict[str, Any] | None:
    """Return the schedule with the fields of CreateSchedule, or None when it does not exist.

    The input of its target is parsed from JSON.
    """
    try:
        found: dict[str, Any] = client.get_schedule(Name=name)
    except client.exceptions.ResourceNotFoundException:
        return None
    return {**found, "Target": {**found["Target"], "Input": json.loads(found["Target"].get("Input") or "{}")}}


def plan(params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the wanted schedule with the fields of CreateSchedule, or None when it shall not exist."""
    if params["state"] == "absent":
        return None
    return {
        "Name": params["name"],
        "ScheduleExpression": params["expression"],
        "ScheduleExpressionTimezone": params["timezone"],
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "ENABLED",
        "Target": {"Arn": params["target_arn"], "RoleArn": params["role_arn"], "Input": params["input"]},
    }


def apply(client: Any, current: dict[str, Any] | None, wanted: dict[str, Any] | None, name: str) -> None:
    """Create, update or delete the schedule. The target's input is sent as JSON."""
    if wanted is None:
        client.delete_schedule(Name=name)
        return
    target = {**wanted["Target"], "Input": json.dumps(wanted["Target"]["Input"], sort_keys=True)}
    put = client.create_schedule if current is None else client.update_schedule
    put(**{**wanted, "Target": target})


def shown(schedule: dict[str, Any] | None) -> dict[str, Any]:
    """Return the part of a schedule that diff mode shows."""
    if schedule is None:
        return {}
    target = {key: schedule["Target"].get(key) for key in ("Arn", "RoleArn", "Input")}
    keys = ("ScheduleExpression", "ScheduleExpressionTimezone", "State")
    return {**{key: schedule.get(key) for key in keys}, "Target": target}


def main() -> None:
    """Read the schedule, and bring it to the wanted state unless the run is in check mode."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "expression": {"type": "str"},
            "timezone": {"type": "str", "default": "UTC"},
            "target_arn": {"type": "str"},
            "role_arn": {"type": "str"},
            "input": {"type": "dict", "default": {}},
            **aws.STATE,
        },
        required_if=[("state", "present", ["expression", "target_arn", "role_arn"])],
        supports_check_mode=True,
    )
    name = module.params["name"]
    wanted = plan(module.params)
    client = aws.client(module, "scheduler")
    done = aws.converge(
        module,
        f"the schedule {name}",
        lambda: observe(client, name),
        wanted,
        aws.holds,
        lambda current: apply(client, current, wanted, name),
    )
    aws.report(module, done.changed, shown(done.current), shown(wanted), name=name)


if __name__ == "__main__":
    main()
