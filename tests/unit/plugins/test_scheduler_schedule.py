"""Which requests the module sends to EventBridge Scheduler: to create, change, keep or delete a schedule."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from .conftest import RunModule
from .stubs import stubbed

ARGUMENTS: dict[str, Any] = {
    "region": "us-east-1",
    "name": "trading-demo-stop",
    "expression": "cron(0 19 ? * MON-FRI *)",
    "timezone": "Europe/Berlin",
    "target_arn": "arn:aws:scheduler:::aws-sdk:ec2:stopInstances",
    "role_arn": "arn:aws:iam::123456789012:role/lowlatency-trading/demo/trading-demo-hours",
    "input": {"InstanceIds": ["i-1"]},
}
ASKED = {
    "Name": "trading-demo-stop",
    "ScheduleExpression": "cron(0 19 ? * MON-FRI *)",
    "ScheduleExpressionTimezone": "Europe/Berlin",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "State": "ENABLED",
    "Target": {"Arn": ARGUMENTS["target_arn"], "RoleArn": ARGUMENTS["role_arn"], "Input": '{"InstanceIds": ["i-1"]}'},
}
MADE = {"ScheduleArn": "arn:aws:scheduler:us-east-1:123456789012:schedule/default/trading-demo-stop"}


def absent(stub: Stubber) -> None:
    stub.add_client_error("get_schedule", "ResourceNotFoundException", expected_params={"Name": ASKED["Name"]})


def present(stub: Stubber, **differing: Any) -> None:
    """Let the stub answer as AWS does. AWS adds default fields, and returns the input unchanged."""
    retries = {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    target = {**ASKED["Target"], "Input": '{"InstanceIds":["i-1"]}', "RetryPolicy": retries}  # type: ignore[dict-item]
    there = {**ASKED, "Target": target, "GroupName": "default", **differing}
    stub.add_response("get_schedule", there, {"Name": ASKED["Name"]})


@pytest.mark.parametrize("check", [True, False])
def test_a_schedule_is_made(monkeypatch: pytest.MonkeyPatch, run_module: RunModule, check: bool) -> None:
    with stubbed(monkeypatch, "scheduler") as stubs:
        absent(stubs["scheduler"])
        if not check:
            stubs["scheduler"].add_response("create_schedule", MADE, ASKED)
        report = run_module("scheduler_schedule", check=check, **ARGUMENTS)
    assert report["changed"] is True
    assert report["diff"]["after"]["Target"]["Input"] == {"InstanceIds": ["i-1"]}


def test_a_schedule_as_described_is_left_alone(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "scheduler") as stubs:
        present(stubs["scheduler"])
        assert run_module("scheduler_schedule", **ARGUMENTS)["changed"] is False


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    "differing", [{"ScheduleExpression": "rate(1 day)"}, {"State": "DISABLED"}, {"ScheduleExpressionTimezone": "UTC"}]
)
def test_a_schedule_is_changed_in_place(
    monkeypatch: pytest.MonkeyPatch,
    run_module: RunModule,
    differing: dict[str, str],
    check: bool,
) -> None:
    with stubbed(monkeypatch, "scheduler") as stubs:
        present(stubs["scheduler"], **differing)
        if not check:
            stubs["scheduler"].add_response("update_schedule", MADE, ASKED)
        report = run_module("scheduler_schedule", check=check, **ARGUMENTS)
    assert report["changed"] is True
    assert report["diff"]["before"] != report["diff"]["after"]


@pytest.mark.parametrize("check", [True, False])
def test_a_schedule_is_deleted(monkeypatch: pytest.MonkeyPatch, run_module: RunModule, check: bool) -> None:
    with stubbed(monkeypatch, "scheduler") as stubs:
        present(stubs["scheduler"])
        if not check:
            stubs["scheduler"].add_response("delete_schedule", {}, {"Name": ASKED["Name"]})
        report = run_module("scheduler_schedule", check=check, **{**ARGUMENTS, "state": "absent"})
    assert (report["changed"], report["diff"]["after"]) == (True, {})


def test_a_missing_schedule_needs_no_deletion(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "scheduler") as stubs:
        absent(stubs["scheduler"])
        assert run_module("scheduler_schedule", **{**ARGUMENTS, "state": "absent"})["changed"] is False
