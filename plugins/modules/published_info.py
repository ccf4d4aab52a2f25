#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that checks whether a host's metrics and log lines arrive in CloudWatch."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: published_info
short_description: Read whether a host's metrics and log lines arrive in CloudWatch
version_added: 0.2.0
description:
  - Read the age of the newest sample of each metric, and look for given lines in a log group.
  - Look repeatedly for lines that have not arrived yet, until O(wait_seconds) have passed.
  - Read all metrics in one request. CloudWatch charges 0.01 USD for a thousand metrics.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  instance_id:
    description: The id of the host's instance.
    type: str
    required: true
  namespace:
    description: The namespace of the metrics.
    type: str
    required: true
  metrics:
    description: The names of the metrics.
    type: list
    elements: str
    required: true
  minutes:
    description: The time in minutes to look back for samples.
    type: int
    default: 10
  log_group:
    description: The log group.
    type: str
    required: true
  lines:
    description: The lines to look for.
    type: list
    elements: dict
    default: []
    suboptions:
      unit:
        description: The unit that logged the line, without C(.service). The log stream has the same name.
        type: str
        required: true
      milliseconds:
        description: The Unix time in milliseconds at which the line was logged.
        type: int
        required: true
      text:
        description: The text of the line.
        type: str
        required: true
  wait_seconds:
    description: The longest wait for the lines in seconds.
    type: int
    default: 20
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read whether the host is heard
  lowlatency.trading.published_info:
    region: us-east-1
    instance_id: i-0123456789abcdef0
    namespace: LowLatencyTrading
    metrics: [EngineUp, DiskUsed]
    log_group: /trading/demo/host
    lines:
      - {unit: telemetry, milliseconds: 1796000000000, text: listening on 0.0.0.0:8000}
"""

RETURN = r"""
metrics:
  description: For each metric the age of its newest sample in seconds, none without a sample.
  type: dict
  returned: success
  sample: {"EngineUp": 42.0, "JournalSecondsLeft": null}
lines:
  description: For each unit whether its line is in the log group.
  type: dict
  returned: success
  sample: {"telemetry": true}
"""

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

_PERIOD_S = 60
_LOOK_EACH_S = 2.0
# The CloudWatch agent gives a line the time at which the unit logged it. Clocks differ by less than this.
_AROUND_MS = 5000


def ages_s(client: Any, given: dict[str, Any], now: datetime) -> dict[str, float | None]:
    """Return a dictionary: metric → age of its newest sample in seconds.

    The age is None when the metric has no sample in the given time.
    """
    dimensions = [{"Name": "InstanceId", "Value": given["instance_id"]}]
    names = {f"m{number}": name for number, name in enumerate(given["metrics"])}
    queries = [
        {
            "Id": key,
            "MetricStat": {
                "Metric": {"Namespace": given["namespace"], "MetricName": name, "Dimensions": dimensions},
                "Period": _PERIOD_S,
                "Stat": "SampleCount",
            },
        }
        for key, name in names.items()
    ]
    found: dict[str, float | None] = dict.fromkeys(given["metrics"])
    pages = client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=now - timedelta(minutes=given["minutes"]), EndTime=now
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            moments = [moment for moment, count in zip(result["Timestamps"], result["Values"]) if count > 0]
            if moments:
                found[names[result["Id"]]] = max(0.0, (now - max(moments)).total_seconds())
    return found


def has(client: Any, given: dict[str, Any], line: dict[str, Any]) -> bool:
    """Return whether the log group has this line of a unit's log, in the stream of this instance and unit."""
    from botocore.exceptions import ClientError

    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=given["log_group"],
        logStreamNames=[f"{given['instance_id']}/{line['unit']}"],
        startTime=line["milliseconds"] - _AROUND_MS,
        endTime=line["milliseconds"] + _AROUND_MS,
    )
    try:
        return any(line["text"].strip() in event["message"] for page in pages for event in page["events"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return False  # the log stream does not exist


def arrived(client: Any, given: dict[str, Any]) -> dict[str, bool]:
    """Wait until the line of every unit is in CloudWatch, or the time is over.

    Return a dictionary: unit → whether its line has arrived.
    """
    end = time.monotonic() + given["wait_seconds"]
    found = {line["unit"]: False for line in given["lines"]}
    while True:
        for line in given["lines"]:
            found[line["unit"]] = found[line["unit"]] or has(client, given, line)
        if all(found.values()) or time.monotonic() >= end:
            return found
        time.sleep(_LOOK_EACH_S)


def observe(module: Any) -> dict[str, Any]:
    """Return the module's results (see RETURN)."""
    given = module.params
    with aws.explained(module, f"read the metrics of {given['instance_id']}"):
        metrics = ages_s(aws.client(module, "cloudwatch"), given, datetime.now(timezone.utc))
    with aws.explained(module, f"look for lines in {given['log_group']}"):
        return {"metrics": metrics, "lines": arrived(aws.client(module, "logs"), given)}


def main() -> None:
    """Check metrics and lines, and report the result."""
    line = {
        "unit": {"type": "str", "required": True},
        "milliseconds": {"type": "int", "required": True},
        "text": {"type": "str", "required": True},
    }
    module = AnsibleAWSModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "metrics": {"type": "list", "elements": "str", "required": True},
            "minutes": {"type": "int", "default": 10},
            "log_group": {"type": "str", "required": True},
            "lines": {"type": "list", "elements": "dict", "default": [], "options": line},
            "wait_seconds": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **observe(module))


if __name__ == "__main__":
    main()
