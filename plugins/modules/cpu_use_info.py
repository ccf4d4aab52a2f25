#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that reads the CPU use of instances from EC2's metric CPUUtilization."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cpu_use_info
short_description: Read the CPU use of instances
version_added: 0.2.0
description:
  - Read the hourly averages of EC2's metric CPUUtilization for each instance. Return the average of all hours, and the
    value of the busiest hour.
  - Read all instances in one request. CloudWatch charges 0.01 USD for a thousand metrics.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  instances:
    description: The instance ids by the names of the hosts.
    type: dict
    required: true
  days:
    description: The days to look back, 1 to 60.
    type: int
    default: 14
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read how busy the hosts were
  lowlatency.trading.cpu_use_info:
    region: us-east-1
    instances: {trading-demo-1: i-0123456789abcdef0}
  register: use
"""

RETURN = r"""
uses:
  description:
    - For each host C(hours), the number of hours with samples, C(average), the average CPU use, and C(highest), the CPU
      use in the busiest hour. Both are in percent of all CPUs of the host, and 0 without samples.
  type: dict
  returned: success
  sample: {"trading-demo-1": {"hours": 336, "average": 7.1, "highest": 31.5}}
"""

from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

_HOUR_S = 3600
_MOST_DAYS = 60
# The most metrics in one request:
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
_MOST_METRICS = 500


def query(key: str, instance_id: str) -> dict[str, Any]:
    """Return a query for GetMetricData that asks for the hourly averages of one instance's CPU use."""
    metric = {
        "Namespace": "AWS/EC2",
        "MetricName": "CPUUtilization",
        "Dimensions": [{"Name": "InstanceId", "Value": instance_id}],
    }
    return {"Id": key, "MetricStat": {"Metric": metric, "Period": _HOUR_S, "Stat": "Average"}}


def observe(client: Any, instances: dict[str, str], days: int) -> dict[str, dict[str, Any]]:
    """Return a dictionary: host → its ``hours``, ``average`` and ``highest`` (see RETURN).

    ``instances`` maps hosts to instance ids.
    """
    names = {f"h{number}": name for number, name in enumerate(instances)}
    hours: dict[str, list[float]] = {name: [] for name in instances}
    until = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)  # whole hours
    pages = client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[query(key, instances[name]) for key, name in names.items()],
        StartTime=until - timedelta(days=days),
        EndTime=until,
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            hours[names[result["Id"]]] += result["Values"]
    return {
        name: {
            "hours": len(values),
            "average": round(sum(values) / len(values), 2) if values else 0.0,
            "highest": round(max(values, default=0.0), 2),
        }
        for name, values in hours.items()
    }


def main() -> None:
    """Read the CPU use and report it."""
    module = AnsibleAWSModule(
        argument_spec={
            "instances": {"type": "dict", "required": True},
            "days": {"type": "int", "default": 14},
        },
        supports_check_mode=True,
    )
    instances, days = module.params["instances"], module.params["days"]
    if not 1 <= days <= _MOST_DAYS:
        module.fail_json(
            msg=f"days: {days} is not 1 to {_MOST_DAYS}; CloudWatch keeps hours longer, and a type is a choice of now"
        )
    if len(instances) > _MOST_METRICS:
        module.fail_json(msg=f"instances: {len(instances)} are more than the {_MOST_METRICS} of one request")
    with aws.explained(module, "read the CPU metrics of the hosts"):
        uses = observe(aws.client(module, "cloudwatch"), instances, days) if instances else {}
    module.exit_json(changed=False, uses=uses)


if __name__ == "__main__":
    main()
