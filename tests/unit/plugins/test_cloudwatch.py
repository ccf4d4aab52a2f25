"""How the modules for CloudWatch compare alarms and check dashboards.

Two alarms are equal when they have the same effect. A dashboard is refused when CloudWatch would not draw it as its
definition says.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import cloudwatch

ALARM: dict[str, Any] = {
    "AlarmName": "trading-demo/cpu",
    "Namespace": "AWS/EC2",
    "MetricName": "CPUUtilization",
    "Dimensions": [{"Name": "B", "Value": "2"}, {"Name": "A", "Value": "1"}],
    "Statistic": "Average",
    "Period": 300,
    "EvaluationPeriods": 2,
    "Threshold": 80,
    "ComparisonOperator": "GreaterThanThreshold",
}
# CloudWatch describes the same alarm as ALARM in another form: with default values, with the state, and with another
# order in lists.
DESCRIBED = {
    **ALARM,
    "AlarmArn": "arn:aws:cloudwatch:us-east-1:1:alarm:trading-demo/cpu",
    "StateValue": "OK",
    "ActionsEnabled": True,
    "OKActions": [],
    "AlarmActions": [],
    "InsufficientDataActions": [],
    "TreatMissingData": "missing",
    "Threshold": 80.0,
    "Dimensions": list(reversed(ALARM["Dimensions"])),
}


COMPOSITE: dict[str, Any] = {
    "AlarmName": "trading-demo/promise",
    "AlarmRule": 'ALARM("trading-demo/cpu")',
    "AlarmActions": ["arn:aws:sns:us-east-1:1:t"],
}
COMPOSITE_DESCRIBED = {**COMPOSITE, "ActionsEnabled": True, "OKActions": [], "StateValue": "ALARM"}
NOTHING = cloudwatch.AlarmPlan(put=[], put_composite=[], delete_composite=[], delete=[])


def test_alarms_as_described_need_no_change() -> None:
    assert cloudwatch.plan_alarms([ALARM, COMPOSITE], [DESCRIBED, COMPOSITE_DESCRIBED]) == NOTHING


def test_new_alarms_are_put() -> None:
    plan = cloudwatch.plan_alarms([COMPOSITE, ALARM], [])
    assert [alarm["AlarmName"] for alarm in plan.put] == ["trading-demo/cpu"]
    assert [alarm["AlarmName"] for alarm in plan.put_composite] == ["trading-demo/promise"]
    assert plan.delete_composite + plan.delete == []


@pytest.mark.parametrize(
    "change",
    [
        {"Threshold": 90},
        {"AlarmActions": ["arn:aws:sns:us-east-1:1:t"]},
        {"Dimensions": [{"Name": "A", "Value": "1"}]},
        {"TreatMissingData": "breaching"},
        {"ActionsEnabled": False},
        {"AlarmDescription": "other"},
    ],
)
def test_an_alarm_that_differs_is_put_whole(change: dict[str, Any]) -> None:
    plan = cloudwatch.plan_alarms([{**ALARM, **change}], [DESCRIBED])
    assert len(plan.put) == 1
    assert plan.put[0]["MetricName"] == "CPUUtilization"
    assert plan.delete == []


def test_a_composite_alarm_whose_rule_differs_is_put() -> None:
    plan = cloudwatch.plan_alarms([{**COMPOSITE, "AlarmRule": 'OK("trading-demo/cpu")'}], [COMPOSITE_DESCRIBED])
    assert [alarm["AlarmRule"] for alarm in plan.put_composite] == ['OK("trading-demo/cpu")']


def test_alarms_that_are_no_longer_wanted_are_deleted_the_composite_ones_apart() -> None:
    plan = cloudwatch.plan_alarms([], [DESCRIBED, COMPOSITE_DESCRIBED])
    assert (plan.delete_composite, plan.delete) == (["trading-demo/promise"], ["trading-demo/cpu"])


def test_an_alarm_is_deleted_after_the_one_that_waits_for_it() -> None:
    silent = {**COMPOSITE, "AlarmName": "trading-demo/silent", "ActionsSuppressor": "trading-demo/promise"}
    plan = cloudwatch.plan_alarms([], [COMPOSITE_DESCRIBED, silent, DESCRIBED])
    assert plan.delete_composite == ["trading-demo/silent", "trading-demo/promise"]


def test_a_setting_that_somebody_added_by_hand_is_a_difference() -> None:
    assert len(cloudwatch.plan_alarms([ALARM], [{**DESCRIBED, "DatapointsToAlarm": 1}]).put) == 1


def widget(x: int, y: int, width: int = 12, height: int = 6, **properties: str) -> dict[str, Any]:
    """Return a widget of a dashboard. It shows metrics of the region us-east-1."""
    place = {"x": x, "y": y, "width": width, "height": height}
    return {"type": "metric", **place, "properties": {"region": "us-east-1", "title": f"{x},{y}", **properties}}


def test_widgets_side_by_side_are_taken() -> None:
    body = {"widgets": [widget(0, 0), widget(12, 0), widget(0, 6, 24)]}
    assert list(cloudwatch.dashboard_problems(body, "us-east-1")) == []


@pytest.mark.parametrize(
    ("widgets", "words"),
    [
        ([widget(0, 0), widget(11, 5)], "widget 1 (11,5): covers widget 0 (0,0)"),
        ([widget(13, 0)], "is not inside the grid of 24 columns"),
        ([widget(0, -1)], "is not inside the grid"),
        ([widget(0, 0, region="eu-west-1")], "shows region eu-west-1"),
        ([{"type": "text", "x": 0}], "are not all whole numbers"),
    ],
)
def test_a_widget_that_would_be_drawn_elsewhere_is_named(widgets: list[dict[str, Any]], words: str) -> None:
    (problem,) = cloudwatch.dashboard_problems({"widgets": widgets}, "us-east-1")
    assert words in problem


def test_a_body_without_widgets_is_refused() -> None:
    assert list(cloudwatch.dashboard_problems({}, "us-east-1")) == ["the body has no list of widgets"]
