"""The module alarm_trial turns an alarm on, and checks that the topic gets its notice. It changes nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import alarm_trial

from .conftest import Account, RunModule

ALARM, COMPOSITE = "trading-demo/demo-1/cpu", "trading-demo/demo-1/promise"


def make_alarms(account: Account, topic: str, *actions: str, of: str = "AlarmActions") -> None:
    cloudwatch = account("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=ALARM,
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Statistic="Average",
        Period=300,
        EvaluationPeriods=2,
        Threshold=80,
        ComparisonOperator="GreaterThanThreshold",
        **{of: list(actions)},
    )
    cloudwatch.put_composite_alarm(AlarmName=COMPOSITE, AlarmRule=f'ALARM("{ALARM}")', AlarmActions=[topic])


@pytest.fixture(autouse=True)
def rules_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the test's alarm is turned on, turn the composite alarm on as well.

    CloudWatch does so because of the composite alarm's rule, but moto does not evaluate rules.
    """
    alone = alarm_trial.apply

    def with_composite(client: Any, alarm: str) -> None:
        alone(client, alarm)
        alone(client, COMPOSITE)

    monkeypatch.setattr(alarm_trial, "apply", with_composite)


@pytest.fixture
def topic(account: Account) -> str:
    return str(account("sns").create_topic(Name="trading-demo-alarms")["TopicArn"])


def left(account: Account, topic: str) -> tuple[int, int]:
    """Return how many queues the AWS account has, and how many subscriptions the topic has."""
    queues = account("sqs").list_queues().get("QueueUrls", [])
    return len(queues), len(account("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"])


def trial(run: RunModule, topic: str, wait_seconds: int = 1) -> dict[str, Any]:
    given = {"region": "us-east-1", "alarm": ALARM, "composite": COMPOSITE}
    return run("alarm_trial", **given, topic=topic, wait_seconds=wait_seconds)


def test_an_alarm_that_is_set_off_is_received_and_the_queue_is_gone(
    account: Account, run_module: RunModule, topic: str
) -> None:
    make_alarms(account, topic)
    account("sqs").create_queue(QueueName="trading-demo-trial-0badf00d")  # a killed trial has left this
    queue = topic.replace(":sns:", ":sqs:").replace("-alarms", "-trial-0badf00d")
    account("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    account("sqs").create_queue(QueueName="another")
    report = trial(run_module, topic)
    assert (report["acted"], report["received"]) == (True, True), report
    assert left(account, topic) == (1, 0)


def test_an_alarm_that_tells_another_topic_is_not_received(account: Account, run_module: RunModule, topic: str) -> None:
    other = str(account("sns").create_topic(Name="another")["TopicArn"])
    make_alarms(account, other)
    report = trial(run_module, topic, wait_seconds=0)
    assert (report["acted"], report["received"]) == (True, False), report
    assert left(account, topic) == (0, 0)


@pytest.mark.parametrize("of", ["AlarmActions", "OKActions", "InsufficientDataActions"])
def test_an_alarm_that_would_recover_the_host_is_not_set_off(
    account: Account, run_module: RunModule, topic: str, of: str
) -> None:
    make_alarms(account, topic, "arn:aws:automate:us-east-1:ec2:recover", of=of)
    report = trial(run_module, topic)
    assert "would do more than tell somebody: arn:aws:automate:us-east-1:ec2:recover" in report["msg"]
    (alarm,) = account("cloudwatch").describe_alarms(AlarmNames=[ALARM])["MetricAlarms"]
    assert alarm["StateValue"] != "ALARM"
    assert left(account, topic) == (0, 0)


def test_the_queue_is_gone_also_after_an_error(account: Account, run_module: RunModule, topic: str) -> None:
    make_alarms(account, topic)
    given = {"region": "us-east-1", "alarm": "trading-demo/none", "composite": COMPOSITE}
    report = run_module("alarm_trial", **given, topic=topic, wait_seconds=0)
    assert "Cannot set off the alarm trading-demo/none" in report["msg"]
    assert left(account, topic) == (0, 0)


def test_only_the_message_of_this_alarm_counts() -> None:
    on = {"AlarmName": COMPOSITE, "NewStateValue": "ALARM"}
    assert alarm_trial.tells(json.dumps(on), COMPOSITE)
    assert not alarm_trial.tells(json.dumps({**on, "NewStateValue": "OK"}), COMPOSITE)
    assert not alarm_trial.tells(json.dumps({**on, "AlarmName": "other"}), COMPOSITE)
    assert not alarm_trial.tells("You have chosen to subscribe", COMPOSITE)
    assert not alarm_trial.tells("[]", COMPOSITE)
