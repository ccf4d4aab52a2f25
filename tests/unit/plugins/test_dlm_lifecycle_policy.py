"""Which requests the module sends to DLM, AWS's service that makes EBS snapshots.

Moto has no DLM, so botocore's stubs check the requests.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws
from ansible_collections.lowlatency.trading.plugins.modules import dlm_lifecycle_policy as module
from botocore.stub import Stubber

from .conftest import RunModule
from .stubs import stubbed

ROLE = "arn:aws:iam::123456789012:role/lowlatency-trading/demo/trading-demo-snapshots"
PARAMS: dict[str, Any] = {
    "name": "trading-demo-snapshots",
    "role_arn": ROLE,
    "host_names": ["trading-demo-2", "trading-demo-1"],
    "at_utc": "03:00",
    "keep": 7,
    "snapshot_tags": {"Project": "lowlatency-trading", "Environment": "demo"},
    "state": "present",
}
POLICY_ID = "policy-0123456789abcdef0"


@pytest.fixture
def stub() -> Iterator[Stubber]:
    client = boto3.client("dlm", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def wanted() -> dict[str, Any]:
    """Return the policy that the module makes from the parameters of these tests."""
    asked = module.plan(PARAMS)
    assert asked is not None
    return asked


def described() -> dict[str, Any]:
    """Return the same policy in the form in which DLM describes it.

    DLM adds default values, and it gives the tags in another order.
    """
    policy = {"PolicyId": POLICY_ID, **copy.deepcopy(wanted())}
    policy["PolicyDetails"]["TargetTags"].reverse()
    policy["PolicyDetails"]["ResourceLocations"] = ["CLOUD"]
    policy["PolicyDetails"]["Schedules"][0]["CreateRule"]["Location"] = "CLOUD"
    policy["PolicyDetails"]["Schedules"][0]["VariableTags"] = []
    return policy


def test_a_policy_is_found_by_its_name_among_others(stub: Stubber) -> None:
    others = {"PolicyId": "policy-1", "Tags": {"Name": "trading-demo-b-snapshots"}}
    mine = {"PolicyId": POLICY_ID, "Tags": {"Name": "trading-demo-snapshots"}}
    stub.add_response("get_lifecycle_policies", {"Policies": [others, mine]}, {})
    stub.add_response("get_lifecycle_policy", {"Policy": described()}, {"PolicyId": POLICY_ID})
    found = module.observe(stub.client, "trading-demo-snapshots")
    assert found is not None
    assert found["PolicyId"] == POLICY_ID


def test_no_policy_is_none(stub: Stubber) -> None:
    stub.add_response("get_lifecycle_policies", {"Policies": []}, {})
    assert module.observe(stub.client, "trading-demo-snapshots") is None


def test_a_new_policy_is_made_with_its_tags(stub: Stubber) -> None:
    tags = {"Name": "trading-demo-snapshots"}
    stub.add_response("create_lifecycle_policy", {"PolicyId": POLICY_ID}, {**wanted(), "Tags": tags})
    assert module.apply(stub.client, None, wanted(), tags) == POLICY_ID


def test_a_policy_is_changed_in_place(stub: Stubber) -> None:
    stub.add_response("update_lifecycle_policy", {}, {**wanted(), "PolicyId": POLICY_ID})
    assert module.apply(stub.client, described(), wanted(), {}) == POLICY_ID


def test_a_policy_is_deleted_and_a_missing_one_is_left_alone(stub: Stubber) -> None:
    stub.add_response("delete_lifecycle_policy", {}, {"PolicyId": POLICY_ID})
    assert module.apply(stub.client, described(), None, {}) is None
    assert module.apply(stub.client, None, None, {}) is None


def test_the_policy_takes_the_hosts_by_name_and_nothing_broader() -> None:
    details = wanted()["PolicyDetails"]
    assert details["TargetTags"] == [
        {"Key": "Name", "Value": "trading-demo-1"},
        {"Key": "Name", "Value": "trading-demo-2"},
    ]


def test_a_policy_as_described_needs_no_change() -> None:
    assert aws.holds(described(), wanted())


@pytest.mark.parametrize("change", ["keep", "hour", "target", "role", "state"])
def test_a_policy_that_differs_needs_a_change(change: str) -> None:
    current = described()
    schedule = current["PolicyDetails"]["Schedules"][0]
    if change == "keep":
        schedule["RetainRule"]["Count"] = 8
    elif change == "hour":
        schedule["CreateRule"]["Times"] = ["04:00"]
    elif change == "target":
        current["PolicyDetails"]["TargetTags"].pop()
    elif change == "role":
        current["ExecutionRoleArn"] = ROLE + "2"
    else:
        current["State"] = "DISABLED"
    assert not aws.holds(current, wanted())


def found(stub: Stubber, policy: dict[str, Any] | None) -> None:
    """Let the stub of DLM answer with this policy. Without a policy, let it answer that there is none."""
    summaries = [{"PolicyId": POLICY_ID, "Tags": {"Name": PARAMS["name"]}}] if policy else []
    stub.add_response("get_lifecycle_policies", {"Policies": summaries}, {})
    if policy:
        stub.add_response("get_lifecycle_policy", {"Policy": policy}, {"PolicyId": POLICY_ID})


def changed() -> dict[str, Any]:
    policy = described()
    policy["PolicyDetails"]["Schedules"][0]["RetainRule"]["Count"] = 8
    return policy


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("there", "state", "operation", "asked"),
    [
        (None, "present", "create_lifecycle_policy", {**wanted(), "Tags": {"Owner": "desk", "Name": PARAMS["name"]}}),
        (changed(), "present", "update_lifecycle_policy", {**wanted(), "PolicyId": POLICY_ID}),
        (described(), "absent", "delete_lifecycle_policy", {"PolicyId": POLICY_ID}),
        (described(), "present", None, {}),
        (None, "absent", None, {}),
    ],
)
def test_the_module_asks_for_what_differs_and_in_check_mode_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
    run_module: RunModule,
    there: dict[str, Any] | None,
    state: str,
    operation: str | None,
    asked: dict[str, Any],
    check: bool,
) -> None:
    arguments = {**PARAMS, "region": "us-east-1", "tags": {"Owner": "desk"}, "state": state}
    with stubbed(monkeypatch, "dlm") as stubs:
        found(stubs["dlm"], there)
        if operation and not check:
            answer = {"PolicyId": POLICY_ID} if operation == "create_lifecycle_policy" else {}
            stubs["dlm"].add_response(operation, answer, asked)
        report = run_module("dlm_lifecycle_policy", check=check, **arguments)
    assert report["changed"] is (operation is not None)
    known = state == "present" and (there is not None or not check)
    assert report.get("policy_id") == (POLICY_ID if known else None)
    assert report["diff"]["before"] == (there or {}).get("PolicyDetails", {})
    assert report["diff"]["after"] == (wanted()["PolicyDetails"] if state == "present" else {})


def test_a_policy_without_its_hosts_is_refused(run_module: RunModule) -> None:
    arguments = {name: value for name, value in PARAMS.items() if name != "host_names"}
    assert "host_names" in run_module("dlm_lifecycle_policy", region="us-east-1", **arguments)["msg"]
