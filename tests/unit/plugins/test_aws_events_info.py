"""The module aws_events_info reads CloudTrail's events about one environment. Botocore's stubs answer for AWS.

The tests check which events belong to the environment. They also check how the module reads several pages of events,
how it pauses between requests, and what it reports about CloudTrail's trails.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import aws_events_info as module
from botocore.stub import ANY, Stubber

from .conftest import RunModule
from .stubs import stubbed

TAGS = [{"key": "Project", "value": "lowlatency-trading"}, {"key": "Environment", "value": "demo"}]
INSTANCE = "i-0123456789abcdef0"
ANNA = "arn:aws:iam::123456789012:user/anna"


def event(name: str, minute: int, request: object = None, answer: object = None, **more: Any) -> dict[str, Any]:
    detail = {
        "userIdentity": {"arn": ANNA},
        "requestParameters": request,
        "responseElements": answer,
        "sourceIPAddress": "198.51.100.7",
        **more,
    }
    moment = datetime.datetime(2026, 11, 30, 4, minute, tzinfo=datetime.UTC)
    return {"EventName": name, "EventTime": moment, "Username": "anna", "CloudTrailEvent": json.dumps(detail)}


IMAGE = {"imageId": "ami-0aaaaaaaaaaaaaaaa"}
LAUNCHED = event("RunInstances", 1, {**IMAGE, "tags": TAGS}, {**IMAGE, "instanceId": INSTANCE})
ENDED = event("TerminateInstances", 3, {"instanceId": INSTANCE})
OTHER = event("TerminateInstances", 2, {"instanceId": "i-0fffffffffffffff0"})
REFUSED = event("DeleteRole", 4, {"roleName": "trading-demo-host"}, errorCode="AccessDenied")
FOREIGN_IMAGE = event("DeregisterImage", 5, IMAGE)


def asked(stub: Stubber, *pages: list[dict[str, Any]], more: bool = False) -> None:
    token: dict[str, Any] = {}
    for number, events in enumerate(pages, 1):
        given = {"LookupAttributes": [{"AttributeKey": "ReadOnly", "AttributeValue": "false"}], **token}
        token = {"NextToken": f"t{number}"} if number < len(pages) or more else {}
        stub.add_response("lookup_events", {"Events": events, **token}, {**given, "StartTime": ANY, "EndTime": ANY})


def trails(stub: Stubber, *are_on: bool) -> None:
    listed = [{"TrailARN": f"arn:{number}"} for number in range(len(are_on))]
    stub.add_response("describe_trails", {"trailList": listed}, {"includeShadowTrails": True})
    for number, is_on in enumerate(are_on):
        stub.add_response("get_trail_status", {"IsLogging": is_on}, {"Name": f"arn:{number}"})
        if is_on:
            break


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("time.sleep", found.append)
    return found


def test_what_the_environment_had_is_learned_from_the_event_that_made_it(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule, pauses: list[float]
) -> None:
    with stubbed(monkeypatch, "cloudtrail") as stubs:
        asked(stubs["cloudtrail"], [FOREIGN_IMAGE, REFUSED], [ENDED, OTHER, LAUNCHED])
        trails(stubs["cloudtrail"])
        report = run_module("aws_events_info", environment="demo", region="us-east-1", days=3)
    assert [(line["time"], line["what"]) for line in report["events"]] == [
        ("2026-11-30T04:01:00Z", "RunInstances from 198.51.100.7"),
        ("2026-11-30T04:03:00Z", "TerminateInstances from 198.51.100.7"),
        ("2026-11-30T04:04:00Z", "DeleteRole from 198.51.100.7, refused: AccessDenied"),
    ]
    assert {line["who"] for line in report["events"]} == {ANNA}
    assert report["notes"][0].startswith("no trail is on")
    assert pauses == [0.5]


def test_iam_is_asked_where_its_events_are(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule, pauses: list[float]
) -> None:
    with stubbed(monkeypatch, "cloudtrail") as stubs:
        asked(stubs["cloudtrail"], [ENDED])
        asked(stubs["cloudtrail"], [REFUSED])
        trails(stubs["cloudtrail"], False, True)
        report = run_module("aws_events_info", environment="demo", region="eu-central-1", resources=[INSTANCE])
    assert [line["what"].split()[0] for line in report["events"]] == ["TerminateInstances", "DeleteRole"]
    assert report["notes"] == ["a trail is on"]
    assert pauses == []


def test_more_pages_than_are_read_are_said(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule, pauses: list[float]
) -> None:
    with stubbed(monkeypatch, "cloudtrail") as stubs:
        asked(stubs["cloudtrail"], [REFUSED], [LAUNCHED], more=True)
        trails(stubs["cloudtrail"], True)
        report = run_module("aws_events_info", environment="demo", region="us-east-1", pages=2)
    assert len(report["events"]) == 2
    assert report["notes"][0] == "us-east-1 has more than 2 pages of events; the earliest were not read"
    assert len(pauses) == 1


@pytest.mark.parametrize("days", [0, 91])
def test_more_days_than_cloudtrail_keeps_are_refused(run_module: RunModule, days: int) -> None:
    report = run_module("aws_events_info", environment="demo", region="us-east-1", days=days)
    assert f"days: {days} is not 1 to 90" in report["msg"]


def test_a_missing_permission_is_named(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "cloudtrail") as stubs:
        stubs["cloudtrail"].add_client_error("lookup_events", "AccessDeniedException", "no")
        report = run_module("aws_events_info", environment="demo", region="us-east-1")
    assert "Cannot read the event history of us-east-1" in report["msg"]
    assert "files/iam" in report["msg"]


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        (json.dumps(TAGS), True),
        (json.dumps(TAGS[1:]), False),
        ('"lowlatency-trading","key":"Environment","value":"demo-b"', False),
        ('"trading-demo"', True),
        ('"trading-demo-1"', True),
        ('"trading-demo-alarms"', True),
        ('"trading-demo-123456789012-us-east-1"', True),
        ('"trading-demo/trading-demo-1/cpu"', True),
        ('"/trading/demo/host"', True),
        ('"role/lowlatency-trading/demo/trading-demo-host"', True),
        ('"trading-demo-b"', False),
        ('"trading-demo-b-1"', False),
        ('"trading-demonstration"', False),
        ('"mytrading-demo"', False),
        ('"i-known"', True),
        ('"i-known-not"', False),
    ],
)
def test_an_event_is_the_environments_by_tag_name_or_id(text: str, ours: bool) -> None:
    assert module.ours_in(text, "demo", {"i-known"}) is ours
