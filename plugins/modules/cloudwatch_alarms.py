#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: cloudwatch_alarms
short_description: Make a set of CloudWatch alarms exactly what is listed
version_added: 0.1.0
description:
  - Create, change and delete metric alarms and composite alarms so that those whose names begin with O(prefix)
    are the listed ones. Composite alarms are put after, and deleted before, the alarms that their rules name.
  - Read all alarms in one call. M(amazon.aws.cloudwatch_metric_alarm) needs a task for each alarm, and does not delete
    alarms that are no longer listed.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  prefix:
    description:
      - The beginning of the names of the alarms that this task manages.
    type: str
    required: true
  alarms:
    description:
      - The alarms, with the parameters of CloudWatch's C(PutMetricAlarm), such as C(AlarmName) and C(Threshold).
      - A composite alarm has C(AlarmRule) and the parameters of C(PutCompositeAlarm).
      - An empty list deletes every alarm with the prefix.
    type: list
    elements: dict
    required: true
  tags:
    description: The tags of new alarms. Tags of existing alarms are not changed.
    type: dict
    default: {}
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.resource
"""

EXAMPLES = r"""
- name: Watch the CPU
  lowlatency.trading.cloudwatch_alarms:
    region: us-east-1
    prefix: trading-demo/
    alarms:
      - AlarmName: trading-demo/trading-demo-1/cpu
        Namespace: AWS/EC2
        MetricName: CPUUtilization
        Dimensions: [{Name: InstanceId, Value: i-0123456789abcdef0}]
        Statistic: Average
        Period: 300
        EvaluationPeriods: 2
        Threshold: 80
        ComparisonOperator: GreaterThanThreshold
      - AlarmName: trading-demo/trading-demo-1/promise
        AlarmRule: ALARM("trading-demo/trading-demo-1/cpu")
        AlarmActions: [arn:aws:sns:us-east-1:123456789012:trading-demo-alarms]
"""

RETURN = r"""
put:
  description: Names of the alarms that were created or changed.
  type: list
  elements: str
  returned: success
  sample: [trading-demo/trading-demo-1/cpu]
deleted:
  description: Names of the alarms that were deleted.
  type: list
  elements: str
  returned: success
  sample: []
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, cloudwatch
from ansible_collections.lowlatency.trading.plugins.module_utils.aws.cloudwatch import plan_alarms as plan

# One call of DeleteAlarms accepts at most 100 names, and at most one composite alarm.
_DELETE_AT_ONCE = 100


def observe(client: Any, prefix: str) -> list[dict[str, Any]]:
    """Return the metric and composite alarms whose names begin with ``prefix``, in the form of DescribeAlarms."""
    pages = client.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    return [alarm for page in pages for kind in ("MetricAlarms", "CompositeAlarms") for alarm in page.get(kind, [])]


def apply(client: Any, planned: cloudwatch.AlarmPlan, tags: dict[str, str]) -> None:
    """Put and delete alarms as the plan says. New alarms get the tags."""
    for alarm in planned.put:
        # PutMetricAlarm ignores tags for an alarm that exists. It refuses an empty list of metrics.
        given = {key: value for key, value in alarm.items() if value != []}
        client.put_metric_alarm(**given, Tags=aws.as_tag_list(tags))
    for alarm in planned.put_composite:
        client.put_composite_alarm(**alarm, Tags=aws.as_tag_list(tags))
    for name in planned.delete_composite:
        client.delete_alarms(AlarmNames=[name])
    for start in range(0, len(planned.delete), _DELETE_AT_ONCE):
        client.delete_alarms(AlarmNames=planned.delete[start : start + _DELETE_AT_ONCE])


def by_name(alarms: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a dictionary: alarm's name → the alarm's settings in comparable form."""
    return {alarm["AlarmName"]: cloudwatch.settings(alarm) for alarm in alarms}


def main() -> None:
    """Read the alarms, and bring them to the wanted state unless the run is in check mode."""
    module = AnsibleAWSModule(
        argument_spec={
            "prefix": {"type": "str", "required": True},
            "alarms": {"type": "list", "elements": "dict", "required": True},
            "tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    prefix = module.params["prefix"]
    wanted = module.params["alarms"]
    stray = [str(alarm.get("AlarmName")) for alarm in wanted if not str(alarm.get("AlarmName")).startswith(prefix)]
    if stray:
        module.fail_json(msg=f"alarms: the name {stray[0]} does not begin with the prefix {prefix}")
    client = aws.client(module, "cloudwatch")
    with aws.explained(module, f"read the alarms {prefix}*"):
        current = observe(client, prefix)
    planned = plan(wanted, current)
    if not module.check_mode:
        with aws.explained(module, f"change the alarms {prefix}*"):
            apply(client, planned, module.params["tags"])
    put = [alarm["AlarmName"] for alarm in planned.put + planned.put_composite]
    deleted = planned.delete_composite + planned.delete
    aws.report(module, bool(put or deleted), by_name(current), by_name(wanted), put=put, deleted=deleted)


if __name__ == "__main__":
    main()
