"""Which requests the module budget sends to AWS Budgets: to create, change, keep or delete a budget."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import budgets
from botocore.config import Config
from botocore.stub import Stubber

from .conftest import RunModule
from .stubs import stubbed

ACCOUNT = "123456789012"
KEY = {"AccountId": ACCOUNT, "BudgetName": "trading-demo"}
TOPIC = "arn:aws:sns:us-east-1:123456789012:trading-demo-alarms"
ARGUMENTS: dict[str, Any] = {
    "region": "us-east-1",
    "account": ACCOUNT,
    "name": "trading-demo",
    "limit_usd": 40,
    "tags": {"Environment": "demo"},
    "notifications": [
        {"kind": "FORECASTED", "percent": 100, "subscribers": [TOPIC]},
        {"kind": "ACTUAL", "percent": 80, "subscribers": ["b@example.com", "a@example.com"]},
    ],
}
ACTUAL = {
    "NotificationType": "ACTUAL",
    "ComparisonOperator": "GREATER_THAN",
    "Threshold": 80.0,
    "ThresholdType": "PERCENTAGE",
}
FORECASTED = {**ACTUAL, "NotificationType": "FORECASTED", "Threshold": 100.0}
MAILED = [
    {"SubscriptionType": "EMAIL", "Address": "a@example.com"},
    {"SubscriptionType": "EMAIL", "Address": "b@example.com"},
]
TOLD = [{"SubscriptionType": "SNS", "Address": TOPIC}]
BUDGET = {
    "BudgetName": "trading-demo",
    "BudgetType": "COST",
    "TimeUnit": "MONTHLY",
    "BudgetLimit": {"Amount": "40", "Unit": "USD"},
    "CostFilters": {"TagKeyValue": ["user:Environment$demo"]},
}
NOTIFICATIONS = [
    {"Notification": ACTUAL, "Subscribers": MAILED},
    {"Notification": FORECASTED, "Subscribers": TOLD},
]


def absent(stub: Stubber) -> None:
    stub.add_client_error("describe_budget", "NotFoundException", expected_params=KEY)


def present(stub: Stubber, amount: str = "40.0") -> None:
    """Let the stub answer that the budget exists, in the form that AWS uses.

    AWS adds states to its answer. It also writes the amount in another form, and gives lists in another order.
    """
    there = {**BUDGET, "BudgetLimit": {"Amount": amount, "Unit": "USD"}, "CostTypes": {"IncludeTax": True}}
    stub.add_response("describe_budget", {"Budget": there}, KEY)
    found = [{**FORECASTED, "NotificationState": "OK"}, {**ACTUAL, "NotificationState": "ALARM"}]
    stub.add_response("describe_notifications_for_budget", {"Notifications": found}, KEY)
    for notification, subscribers in ((FORECASTED, TOLD), (ACTUAL, list(reversed(MAILED)))):
        answer = {"Subscribers": subscribers}
        stub.add_response("describe_subscribers_for_notification", answer, {**KEY, "Notification": notification})


@pytest.mark.parametrize("check", [True, False])
def test_a_budget_is_made(monkeypatch: pytest.MonkeyPatch, run_module: RunModule, check: bool) -> None:
    with stubbed(monkeypatch, "budgets") as stubs:
        absent(stubs["budgets"])
        if not check:
            asked = {"AccountId": ACCOUNT, "Budget": BUDGET, "NotificationsWithSubscribers": NOTIFICATIONS}
            stubs["budgets"].add_response("create_budget", {}, asked)
        report = run_module("budget", check=check, **ARGUMENTS)
    assert report["changed"] is True
    assert report["diff"]["before"] == {}
    assert report["diff"]["after"]["budget"] == BUDGET


def test_a_budget_as_described_is_left_alone(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "budgets") as stubs:
        present(stubs["budgets"])
        assert run_module("budget", **ARGUMENTS)["changed"] is False


@pytest.mark.parametrize("check", [True, False])
def test_only_what_differs_is_changed(monkeypatch: pytest.MonkeyPatch, run_module: RunModule, check: bool) -> None:
    later = {**ACTUAL, "Threshold": 90.0}
    notifications = [ARGUMENTS["notifications"][0], {**ARGUMENTS["notifications"][1], "percent": 90}]
    with stubbed(monkeypatch, "budgets") as stubs:
        stub = stubs["budgets"]
        present(stub, amount="30")
        if not check:
            stub.add_response("update_budget", {}, {"AccountId": ACCOUNT, "NewBudget": BUDGET})
            stub.add_response("delete_notification", {}, {**KEY, "Notification": ACTUAL})
            stub.add_response("create_notification", {}, {**KEY, "Notification": later, "Subscribers": MAILED})
        report = run_module("budget", check=check, **{**ARGUMENTS, "notifications": notifications})
    assert report["changed"] is True
    assert report["diff"]["before"]["budget"]["BudgetLimit"]["Amount"] == "30"


@pytest.mark.parametrize("check", [True, False])
def test_a_budget_is_deleted(monkeypatch: pytest.MonkeyPatch, run_module: RunModule, check: bool) -> None:
    with stubbed(monkeypatch, "budgets") as stubs:
        present(stubs["budgets"])
        if not check:
            stubs["budgets"].add_response("delete_budget", {}, KEY)
        report = run_module("budget", check=check, **{**ARGUMENTS, "state": "absent"})
    assert report["changed"] is True


def test_a_missing_budget_needs_no_deletion(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "budgets") as stubs:
        absent(stubs["budgets"])
        assert run_module("budget", **{**ARGUMENTS, "state": "absent"})["changed"] is False


def test_a_refusal_is_explained(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "budgets") as stubs:
        stubs["budgets"].add_client_error("describe_budget", "AccessDeniedException", "no")
        report = run_module("budget", **ARGUMENTS)
    assert report["msg"].startswith("Cannot read the budget trading-demo in region us-east-1: no")
    assert "see files/iam and docs/aws.md" in report["msg"]


@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied"])
def test_who_may_not_look_has_nothing_to_delete(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule, code: str
) -> None:
    with stubbed(monkeypatch, "budgets") as stubs:
        stubs["budgets"].add_client_error("describe_budget", code, "no")
        report = run_module("budget", **{**ARGUMENTS, "state": "absent"})
    assert report["changed"] is False
    assert f"Cannot read the budget trading-demo in region us-east-1: no ({code})" in str(report["warnings"])


def test_where_no_budgets_answer_there_is_nothing_to_delete(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    nobody = boto3.client(
        "budgets",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        endpoint_url="http://127.0.0.1:9",
        config=Config(retries={"total_max_attempts": 1}),
    )
    monkeypatch.setattr(AnsibleAWSModule, "client", lambda *_args, **_kwargs: nobody)
    report = run_module("budget", **{**ARGUMENTS, "state": "absent"})
    assert report["changed"] is False
    assert "http://127.0.0.1:9" in str(report["warnings"])
    assert run_module("budget", **ARGUMENTS)["msg"].startswith("Cannot read the budget trading-demo")


def test_another_error_still_fails_a_deletion(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "budgets") as stubs:
        stubs["budgets"].add_client_error("describe_budget", "ThrottlingException", "slowly")
        report = run_module("budget", **{**ARGUMENTS, "state": "absent"})
    assert "slowly" in report["msg"]


def test_a_budget_of_the_whole_account_has_no_filter() -> None:
    assert "CostFilters" not in budgets.plan("all", 12.5, {}, [])["budget"]
    assert budgets.plan("all", 12.5, {}, [])["budget"]["BudgetLimit"]["Amount"] == "12.5"
    assert budgets.plan("all", 100.0, {}, [])["budget"]["BudgetLimit"]["Amount"] == "100"
