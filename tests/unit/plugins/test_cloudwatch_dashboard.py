"""The module cloudwatch_dashboard creates, changes and deletes a dashboard. It reports CloudWatch's complaints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Account, RunModule, apply_thrice
from .stubs import stubbed

NAME = "trading-demo"


def body(title: str) -> dict[str, Any]:
    place = {"x": 0, "y": 0, "width": 24, "height": 2}
    return {"widgets": [{"type": "text", **place, "properties": {"markdown": title}}]}


def bodies(account: Account) -> dict[str, Any]:
    """Return the content of each dashboard in the AWS account, by the dashboard's name."""
    cloudwatch = account("cloudwatch")
    names = [entry["DashboardName"] for entry in cloudwatch.list_dashboards()["DashboardEntries"]]
    return {name: json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]) for name in names}


def test_a_dashboard_is_made_changed_and_deleted(account: Account, run_module: RunModule) -> None:
    def apply(**arguments: object) -> dict[str, Any]:
        return apply_thrice(run_module, lambda: bodies(account), "cloudwatch_dashboard", name=NAME, **arguments)

    assert apply(body=body("# One"))["diff"] == {"before": {}, "after": body("# One")}
    assert apply(body=body("# Two"))["diff"] == {"before": body("# One"), "after": body("# Two")}
    assert bodies(account) == {NAME: body("# Two")}
    assert apply(state="absent")["diff"] == {"before": body("# Two"), "after": {}}
    assert bodies(account) == {}


def test_a_dashboard_that_would_be_drawn_elsewhere_is_not_stored(account: Account, run_module: RunModule) -> None:
    wrong = {"widgets": body("a")["widgets"] * 2}
    report = run_module("cloudwatch_dashboard", region="us-east-1", name=NAME, body=wrong)
    assert "widget 1 (text): covers widget 0 (text)" in report["msg"]
    assert bodies(account) == {}


def test_what_cloudwatch_finds_wrong_and_takes_all_the_same_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    found = {"DataPath": "/widgets/0", "Message": "Should have a title"}
    with stubbed(monkeypatch, "cloudwatch") as stubs:
        stubs["cloudwatch"].add_client_error("get_dashboard", "ResourceNotFound")
        stubs["cloudwatch"].add_response("put_dashboard", {"DashboardValidationMessages": [found]})
        report = run_module("cloudwatch_dashboard", region="us-east-1", name=NAME, body=body("# One"))
    assert report["changed"] is True
    assert "CloudWatch about the dashboard trading-demo: /widgets/0: Should have a title" in str(report["warnings"])


def test_a_dashboard_without_a_body_is_refused(account: Account, run_module: RunModule) -> None:
    assert "body" in run_module("cloudwatch_dashboard", region="us-east-1", name=NAME)["msg"]
    assert bodies(account) == {}
