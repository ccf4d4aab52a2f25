"""Which hosts of a fleet an instance refresh replaces, and how its end is judged."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import refresh

TEMPLATE = {"launch_template_id": "lt-a", "launch_template_name": "trading-demo/alpha"}
OTHER = {"launch_template_id": "lt-b", "launch_template_name": "trading-demo/beta"}
INSTANCE = {"instance_id": "i-1", "lifecycle_state": "InService", "protected_from_scale_in": False}
LIMIT_SECONDS = 1800


def arn(kind: str, name: str) -> str:
    return f"arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/trading-demo-{kind}-{name}/0"


def found(name: str, *targets: tuple[str, str]) -> list[dict[str, Any]]:
    """Return both target groups of a partition. `targets` has the id and the state of each target."""
    health = [{"target": {"id": name}, "target_health": {"state": state}} for name, state in targets]
    return [{"target_group_arn": arn(kind, name), "targets_health_description": health} for kind in "OF"]


def group(name: str, template: dict[str, str], version: int, **changed: Any) -> dict[str, Any]:
    """Return a group with one host, which was launched from this version of the template."""
    launched = {**template, "version": str(version)}
    return {
        "auto_scaling_group_name": f"trading-demo/{name}",
        "launch_template": {**template, "version": "$Latest"},
        "instances": [{**INSTANCE, "launch_template": launched}],
        "suspended_processes": [],
        "target_group_arns": [arn(kind, name) for kind in "OF"],
        **changed,
    }


ALPHA, BETA = group("alpha", TEMPLATE, 1), group("beta", OTHER, 2)
TEMPLATES = [{**TEMPLATE, "latest_version_number": 2}, {**OTHER, "latest_version_number": 2}]
HEALTHY = [*found("alpha", ("i-1", "healthy")), *found("beta", ("i-1", "healthy"))]


def planned(
    *groups: dict[str, Any],
    partition: str = "",
    status: str = "Successful",
    templates: list[dict[str, Any]] = TEMPLATES,
    targets: list[dict[str, Any]] = HEALTHY,
) -> dict[str, Any]:
    refreshes = {one["auto_scaling_group_name"]: [{"instance_refresh_id": "r-1", "status": status}] for one in groups}
    return refresh.plan(groups, templates, refreshes, targets, partition)


def test_only_a_host_of_an_older_version_is_due_and_partitions_are_sorted() -> None:
    plan = planned(BETA, ALPHA)
    assert plan["problems"] == []
    assert [(one["partition"], one["version"], one["newest"], one["due"]) for one in plan["hosts"]] == [
        ("alpha", 1, 2, True),
        ("beta", 2, 2, False),
    ]


def test_one_partition_is_enough() -> None:
    assert [one["group"] for one in planned(ALPHA, BETA, partition="beta")["hosts"]] == ["trading-demo/beta"]


def test_a_host_of_another_template_is_due_whatever_its_version_is() -> None:
    of_another = {**INSTANCE, "launch_template": {**OTHER, "version": "2"}}
    assert planned({**ALPHA, "instances": [of_another]})["hosts"][0]["due"]


def test_without_groups_and_for_an_unknown_partition_there_is_no_plan() -> None:
    assert planned() == {"problems": ["it has no group: playbooks/fleet.yml makes them"], "hosts": []}
    plan = planned(ALPHA, BETA, partition="gamma")
    assert plan == {"problems": ["no group is of partition gamma: name one of alpha, beta"], "hosts": []}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"suspended_processes": [{"process_name": "Terminate"}]}, "the processes Terminate of trading-demo/alpha are"),
        ({"instances": []}, "trading-demo/alpha does not have one host in service (it has none)"),
        ({"instances": [{**INSTANCE, "lifecycle_state": "Pending:Wait"}]}, "in service (i-1 is Pending:Wait)"),
        ({"instances": [INSTANCE, {**INSTANCE, "instance_id": "i-2"}]}, "(i-1 is InService, i-2 is InService)"),
        ({"instances": [{**INSTANCE, "protected_from_scale_in": True}]}, "host i-1 of trading-demo/alpha is protected"),
        ({"launch_template": None}, "trading-demo/alpha has no launch template"),
        ({"target_group_arns": []}, "trading-demo/alpha has no target group"),
    ],
)
def test_what_is_against_a_refresh_is_said_by_name(changed: dict[str, Any], said: str) -> None:
    (problem,) = planned({**ALPHA, **changed}, BETA)["problems"]
    assert said in problem


def test_a_suspended_group_whose_host_is_new_is_no_problem() -> None:
    assert planned({**BETA, "suspended_processes": [{"process_name": "Launch"}]})["problems"] == []


def test_no_partition_is_next_while_the_new_host_of_another_is_ill() -> None:
    ill = [*HEALTHY[:3], found("beta", ("i-1", "unhealthy"))[1]]
    (problem,) = planned(ALPHA, BETA, targets=ill)["problems"]
    assert "trading-demo/beta has the newest version already, but its host is not healthy in trading-demo-F" in problem
    assert planned(ALPHA, BETA, targets=ill, partition="alpha")["problems"] == []


@pytest.mark.parametrize(("digests", "due"), [("aa", False), ("ab", True), (("", ""), True)])
def test_after_a_way_back_a_host_of_the_same_contents_stays(digests: tuple[str, str], due: bool) -> None:
    versions = [{"version_number": n, "version_description": each} for n, each in zip((1, 2), digests, strict=True)]
    templates = [{**TEMPLATES[0], "versions": versions}, TEMPLATES[1]]
    assert planned(ALPHA, templates=templates)["hosts"][0]["due"] is due


def test_a_version_that_is_no_number_is_due() -> None:
    latest = {**INSTANCE, "launch_template": {**TEMPLATE, "version": "$Latest"}}
    assert planned({**ALPHA, "instances": [latest]})["hosts"][0]["due"]


@pytest.mark.parametrize("status", ["Pending", "InProgress", "Cancelling", "RollbackInProgress", "Baking", "New word"])
def test_an_open_refresh_is_waited_for_even_if_the_host_is_new(status: str) -> None:
    (problem,) = planned(BETA, status=status)["problems"]
    assert f"the refresh r-1 of trading-demo/beta is {status}: wait" in problem


@pytest.mark.parametrize("status", ["Failed", "Cancelled", "RollbackSuccessful", "RollbackFailed"])
def test_an_end_without_success_is_a_fault_with_the_reason_of_aws(status: str) -> None:
    (host,) = planned(ALPHA, status=status)["hosts"]
    said = refresh.fault(host, {"status": status, "status_reason": "No capacity."}, [], LIMIT_SECONDS)
    assert said.startswith(f"The refresh of trading-demo/alpha ended as {status}: No capacity. aws autoscaling")
    assert "To go back, run fleet.yml with the trading_image_id before" in said


def test_a_refresh_that_goes_on_after_the_limit_is_a_fault() -> None:
    (host,) = planned(ALPHA)["hosts"]
    said = refresh.fault(host, {"status": "InProgress"}, [], LIMIT_SECONDS)
    assert "within 1800 s. Its refresh is InProgress: AWS gives no reason. The refresh goes on." in said
    assert "cancel-instance-refresh --auto-scaling-group-name trading-demo/alpha" in said


def test_a_success_counts_only_with_another_host_that_is_healthy_in_each_target_group() -> None:
    (host,) = planned(ALPHA)["hosts"]
    both = ["trading-demo-F-alpha", "trading-demo-O-alpha"]
    assert refresh.unhealthy(host, []) == both
    assert refresh.unhealthy(host, found("alpha", ("i-1", "healthy"), ("i-2", "initial"))) == both
    half = [found("alpha", ("i-2", "healthy"))[0], found("alpha", ("i-2", "unhealthy"))[1]]
    assert refresh.unhealthy(host, half) == both[:1]
    assert refresh.unhealthy(host, found("alpha", ("i-1", "draining"), ("i-2", "healthy"))) == []
    successful = {"status": "Successful"}
    assert refresh.fault(host, successful, [], LIMIT_SECONDS) == ""
    assert "was not healthy in trading-demo-F-alpha. /health" in refresh.fault(
        host, successful, both[:1], LIMIT_SECONDS
    )
