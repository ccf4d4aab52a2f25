#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: alarm_trial
short_description: Set an alarm off, and see whether it tells somebody
version_added: 0.2.0
description:
  - Set the state of a CloudWatch alarm to C(ALARM), which CloudWatch takes back at its next look at the metric, and
    wait until the composite alarm that stands on it has run its actions.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  alarm:
    description: The alarm to set off.
    type: str
    required: true
  composite:
    description: The composite alarm that is to act.
    type: str
    required: true
  wait_seconds:
    description: The longest wait for its action.
    type: int
    default: 180
attributes:
  check_mode:
    description: Nobody is told anything by a trial that does not take place; in check mode it is skipped.
    support: none
  diff_mode:
    description: CloudWatch takes the state back, so there is no difference to show.
    support: none
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Set the alarm of a silent engine off
  lowlatency.trading.alarm_trial:
    region: us-east-1
    alarm: trading-demo/trading-demo-1/engine-up
    composite: trading-demo/trading-demo-1/promise
  register: trial
"""

RETURN = r"""
acted:
  description: Whether the composite alarm has run an action with success since.
  type: bool
  returned: success
seconds:
  description: The seconds until it had, or that were waited.
  type: float
  returned: success
history:
  description: What CloudWatch says of its actions since, newest first.
  type: list
  elements: str
  returned: success
"""

import time
from datetime import datetime, timezone
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

_POLL_SECONDS = 3.0


def actions(client: Any, composite: str, since: datetime) -> list[str]:
    """Return what CloudWatch says of the alarm's actions."""
    answer = client.describe_alarm_history(
        AlarmName=composite, AlarmTypes=["CompositeAlarm"], HistoryItemType="Action", StartDate=since
    )
    return [item["HistorySummary"] for item in answer["AlarmHistoryItems"]]


def observe(client: Any, composite: str, since: datetime, wait_seconds: float) -> list[str]:
    """Return the actions as soon as one has succeeded, or those that there are after ``wait_seconds``."""
    deadline = time.monotonic() + wait_seconds
    while True:
        found = actions(client, composite, since)
        if any(map(succeeded, found)) or time.monotonic() >= deadline:
            return found
        time.sleep(_POLL_SECONDS)


def plan(client: Any, composite: str, wait_seconds: float) -> str:
    """Return why the trial would show nothing, empty when it would; wait until the composite alarm is off."""
    deadline = time.monotonic() + wait_seconds
    while True:
        found = client.describe_alarms(AlarmNames=[composite], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
        if not found:
            return f"there is no composite alarm {composite}"
        if found[0]["StateValue"] != "ALARM":
            return ""
        if time.monotonic() >= deadline:
            return f"{composite} is on by itself, and would tell nobody again: {found[0].get('StateReason', '')}"
        time.sleep(_POLL_SECONDS)


def apply(client: Any, alarm: str) -> None:
    """Set the alarm off."""
    client.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="Trial: nothing is wrong")


def succeeded(summary: str) -> bool:
    """Return whether this is an action that was run."""
    return summary.startswith("Successfully executed action")


def main() -> None:
    """Set it off and look."""
    module = AnsibleAWSModule(
        argument_spec={
            "alarm": {"type": "str", "required": True},
            "composite": {"type": "str", "required": True},
            "wait_seconds": {"type": "int", "default": 180},
        },
        supports_check_mode=False,
    )
    alarm, composite = module.params["alarm"], module.params["composite"]
    client = aws.client(module, "cloudwatch")
    with aws.explained(module, f"set off the alarm {alarm}"):
        problem = plan(client, composite, module.params["wait_seconds"])
        if problem:
            module.fail_json(msg=problem)
        since, started = datetime.now(timezone.utc), time.monotonic()
        apply(client, alarm)
        history = observe(client, composite, since, module.params["wait_seconds"])
    module.exit_json(
        changed=True,
        acted=any(map(succeeded, history)),
        seconds=round(time.monotonic() - started, 1),
        history=history,
    )


if __name__ == "__main__":
    main()
