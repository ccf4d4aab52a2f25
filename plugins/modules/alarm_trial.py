#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: alarm_trial
short_description: Set an alarm off, and check that a subscriber is notified
version_added: 0.2.0
description:
  - Set the state of a CloudWatch alarm to C(ALARM), and wait until the composite alarm that names it has run its
    actions. CloudWatch sets the state back when it next evaluates the metric.
  - Fail for an alarm with an action other than a message to an SNS topic, such as one that recovers or stops a host.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  alarm:
    description: The alarm to set off.
    type: str
    required: true
  composite:
    description: The composite alarm whose actions are expected.
    type: str
    required: true
  topic:
    description:
      - The ARN of the SNS topic that receives the message. When it is given, a temporary SQS queue subscribes to the
        topic to check that the message arrives. The queue is removed afterwards.
    type: str
  wait_seconds:
    description: The longest wait in seconds for the action, and again for the message.
    type: int
    default: 180
attributes:
  check_mode:
    description: In check mode the trial is skipped, and no message is sent.
    support: none
  diff_mode:
    description: CloudWatch sets the state back, so there is no difference to show.
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
  description: Whether the composite alarm has run an action successfully since the trial began.
  type: bool
  returned: success
seconds:
  description: The seconds until then, or the seconds of the whole wait when no action succeeded.
  type: float
  returned: success
received:
  description: Whether the message arrived at the queue; false without O(topic).
  type: bool
  returned: success
composite:
  description: The composite alarm.
  type: str
  returned: success
history:
  description: CloudWatch's history of the composite alarm's actions since the trial began, newest first.
  type: list
  elements: str
  returned: success
"""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

_POLL_SECONDS = 3.0


def actions(client: Any, composite: str, since: datetime) -> list[str]:
    """Return a summary of each action that the composite alarm has run since the given time, the newest first.

    The summaries are from CloudWatch's history.
    """
    answer = client.describe_alarm_history(
        AlarmName=composite, AlarmTypes=["CompositeAlarm"], HistoryItemType="Action", StartDate=since
    )
    return [item["HistorySummary"] for item in answer["AlarmHistoryItems"]]


def observe(client: Any, composite: str, since: datetime, wait_seconds: float) -> list[str]:
    """Wait until an action of the composite alarm has succeeded, but not longer than ``wait_seconds``.

    Return the summaries of all actions that it has run.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        found = actions(client, composite, since)
        if any(map(succeeded, found)) or time.monotonic() >= deadline:
            return found
        time.sleep(_POLL_SECONDS)


@contextmanager
def listening(sqs: Any, sns: Any, topic: str) -> Iterator[str]:
    """Yield the URL of a temporary queue that is subscribed to the alarms' topic. This is a context manager.

    First, queues and subscriptions that earlier trials left are removed. At the end, this trial's own are removed.
    """
    arn, _colon, name = topic.rpartition(":")
    beginning = f"{name.removesuffix('-alarms')}-trial-"
    beginning_arn = f"{arn.replace(':sns:', ':sqs:')}:{beginning}"
    for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic):
        for one in page["Subscriptions"]:
            if one["Protocol"] == "sqs" and one["Endpoint"].startswith(beginning_arn):
                sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
    for left in sqs.list_queues(QueueNamePrefix=beginning).get("QueueUrls", []):
        sqs.delete_queue(QueueUrl=left)
    # A new queue cannot have the name of a queue that was deleted in the last minute, so each has a random name.
    queue = beginning + uuid.uuid4().hex[:8]
    queue_arn = f"{arn.replace(':sns:', ':sqs:')}:{queue}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    url = sqs.create_queue(QueueName=queue, Attributes={"Policy": policy})["QueueUrl"]
    subscription = ""
    try:
        subscription = sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=queue_arn,
            Attributes={"RawMessageDelivery": "true"},
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        yield url
    finally:
        try:
            if subscription:
                sns.unsubscribe(SubscriptionArn=subscription)
        finally:
            sqs.delete_queue(QueueUrl=url)


def heard(sqs: Any, url: str, composite: str, wait_seconds: float) -> bool:
    """Wait up to ``wait_seconds`` until the queue receives the message that the composite alarm is on.

    Return whether the message came.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        # Long polling: AWS holds one request for up to 20 s.
        left_s = max(0, min(20, int(deadline - time.monotonic())))
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=left_s, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            if tells(message["Body"], composite):
                return True
        if time.monotonic() >= deadline:
            return False


def tells(body: str, composite: str) -> bool:
    """Return whether a message's text reports that the composite alarm is on."""
    try:
        said = json.loads(body)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("AlarmName") == composite and said.get("NewStateValue") == "ALARM"


def plan(client: Any, alarm: str, composite: str, wait_seconds: float) -> str:
    """Wait until the composite alarm is off, but not longer than ``wait_seconds``.

    Return an empty text when a trial is possible, otherwise the reason why it is not. A trial is not possible when the
    composite alarm stays on. It is not possible either when one of the two alarms, the triggered one and the composite
    one, has an action that does more than notify.
    """
    answer = client.describe_alarms(AlarmNames=[alarm, composite], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    for one in [*answer["MetricAlarms"], *answer["CompositeAlarms"]]:
        # CloudWatch later sets the alarm back to another state, whose actions count as well.
        every = [*one["AlarmActions"], *one["OKActions"], *one["InsufficientDataActions"]]
        others = [action for action in dict.fromkeys(every) if ":sns:" not in action]
        if others:
            return f"{one['AlarmName']} would do more than tell somebody: {', '.join(others)}; choose another alarm"
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
    """Set the alarm's state to ALARM."""
    client.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="Trial: nothing is wrong")


def succeeded(summary: str) -> bool:
    """Return whether a summary from the alarm's history says that the action succeeded."""
    return summary.startswith("Successfully executed action")


def trial(client: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Trigger the alarm, and return ``acted``, ``seconds`` and ``history`` of the composite alarm (see RETURN)."""
    since, started = datetime.now(timezone.utc), time.monotonic()
    apply(client, given["alarm"])
    history = observe(client, given["composite"], since, given["wait_seconds"])
    seconds = round(time.monotonic() - started, 1)
    return {"acted": any(map(succeeded, history)), "seconds": seconds, "history": history}


def main() -> None:
    """Trigger the alarm, and report how the composite alarm and the topic react."""
    module = AnsibleAWSModule(
        argument_spec={
            "alarm": {"type": "str", "required": True},
            "composite": {"type": "str", "required": True},
            "topic": {"type": "str"},
            "wait_seconds": {"type": "int", "default": 180},
        },
        supports_check_mode=False,
    )
    given = module.params
    alarm, composite, topic = given["alarm"], given["composite"], given["topic"]
    client = aws.client(module, "cloudwatch")
    with aws.explained(module, f"set off the alarm {alarm}"):
        problem = plan(client, alarm, composite, given["wait_seconds"])
        if problem:
            module.fail_json(msg=problem)
        if topic:
            sqs, sns = aws.client(module, "sqs"), aws.client(module, "sns")
            with listening(sqs, sns, topic) as url:
                found = trial(client, given)
                received = found["acted"] and heard(sqs, url, composite, given["wait_seconds"])
        else:
            found, received = trial(client, given), False
    module.exit_json(changed=True, composite=composite, received=received, **found)


if __name__ == "__main__":
    main()
