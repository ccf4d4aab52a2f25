"""The module cloudwatch_alarms gives an environment exactly the alarms in a list. It changes no other alarms."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import cloudwatch
from ansible_collections.lowlatency.trading.plugins.module_utils.aws.cloudwatch import AlarmPlan
from ansible_collections.lowlatency.trading.plugins.modules import cloudwatch_alarms as module

from .conftest import Account, RunModule, apply_thrice
from .stubs import stubbed

PREFIX = "trading-demo/"


def alarm(name: str, threshold: float) -> dict[str, Any]:
    """Return an alarm in the form of the arguments of PutMetricAlarm."""
    return {
        "AlarmName": name,
        "Namespace": "AWS/EC2",
        "MetricName": "CPUUtilization",
        "Dimensions": [{"Name": "InstanceId", "Value": "i-1"}],
        "Statistic": "Average",
        "Period": 300,
        "EvaluationPeriods": 2,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "AlarmActions": [],
    }


CPU, MEMORY = f"{PREFIX}cpu", f"{PREFIX}memory"
PROMISE = {"AlarmName": f"{PREFIX}promise", "AlarmRule": f'ALARM("{CPU}")'}


def there(account: Account) -> dict[str, float | str]:
    """Return the alarms that the AWS account has, by their names.

    The value of a metric alarm is its threshold. The value of a composite alarm is its rule.
    """
    kinds = account("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    metric = {one["AlarmName"]: one["Threshold"] for one in kinds["MetricAlarms"]}
    return {**metric, **{one["AlarmName"]: one["AlarmRule"] for one in kinds["CompositeAlarms"]}}


def test_alarms_are_made_changed_and_deleted_as_a_set(account: Account, run_module: RunModule) -> None:
    def apply(*alarms: dict[str, Any]) -> tuple[list[str], list[str]]:
        arguments: dict[str, Any] = {"prefix": PREFIX, "alarms": list(alarms), "tags": {"Project": "x", "Env": "demo"}}
        report = apply_thrice(run_module, lambda: there(account), "cloudwatch_alarms", **arguments)
        return report["put"], report["deleted"]

    account("cloudwatch").put_metric_alarm(**alarm("trading-demo-b/cpu", 1))
    assert apply(PROMISE, alarm(CPU, 80), alarm(MEMORY, 80)) == ([CPU, MEMORY, PROMISE["AlarmName"]], [])
    assert apply(PROMISE, alarm(CPU, 80), alarm(MEMORY, 90)) == ([MEMORY], [])
    assert there(account)[MEMORY] == 90.0
    assert apply(PROMISE, alarm(CPU, 80)) == ([], [MEMORY])
    assert apply() == ([], [PROMISE["AlarmName"], CPU])
    assert there(account) == {"trading-demo-b/cpu": 1.0}


def test_a_new_alarm_carries_the_tags(account: Account, run_module: RunModule) -> None:
    tags = {"Project": "lowlatency-trading", "Environment": "demo"}
    run_module("cloudwatch_alarms", region="us-east-1", prefix=PREFIX, alarms=[alarm(CPU, 80)], tags=tags)
    cloudwatch = account("cloudwatch")
    (made,) = cloudwatch.describe_alarms(AlarmNames=[CPU])["MetricAlarms"]
    carried = cloudwatch.list_tags_for_resource(ResourceARN=made["AlarmArn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in carried} == tags


def test_an_alarm_outside_of_the_prefix_is_refused(account: Account, run_module: RunModule) -> None:
    alarms = [alarm(CPU, 80), alarm("trading-demo-b/cpu", 80)]
    report = run_module("cloudwatch_alarms", region="us-east-1", prefix=PREFIX, alarms=alarms)
    assert "trading-demo-b/cpu does not begin with the prefix trading-demo/" in report["msg"]
    assert there(account) == {}


def test_as_many_alarms_are_deleted_at_once_as_the_api_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{PREFIX}{number:03}" for number in range(101)]
    composite = [f"{PREFIX}a", f"{PREFIX}b"]
    with stubbed(monkeypatch, "cloudwatch") as stubs:
        for asked in ([composite[0]], [composite[1]], names[:100], names[100:]):
            stubs["cloudwatch"].add_response("delete_alarms", {}, {"AlarmNames": asked})
        module.apply(stubs["cloudwatch"].client, AlarmPlan([], [], composite, names), {})


def test_empty_lists_which_the_api_refuses_are_not_put(monkeypatch: pytest.MonkeyPatch) -> None:
    normal = cloudwatch.settings(alarm(CPU, 80))
    assert normal["Metrics"] == []
    asked = {key: value for key, value in alarm(CPU, 80.0).items() if key != "AlarmActions"}
    with stubbed(monkeypatch, "cloudwatch") as stubs:
        defaults = {"ActionsEnabled": True, "TreatMissingData": "missing", "Tags": [{"Key": "Project", "Value": "x"}]}
        stubs["cloudwatch"].add_response("put_metric_alarm", {}, {**asked, **defaults})
        module.apply(stubs["cloudwatch"].client, AlarmPlan([normal], [], [], []), {"Project": "x"})
