"""The deployer's IAM policies allow every call that is needed and nothing else. They are small enough for AWS.

tests/iam/calls.json lists the permissions that all calls need, from an environment's plan to its removal. Tests in
tests/integration/aws have recorded these calls, and check the calls of each new run against the policies.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.iam import calls, documents, reference
from tests.iam.evaluate import Need, allowed

from .templates import render

NOTES = yaml.safe_load((documents.FOLDER / "notes.yml").read_text(encoding="utf-8"))
EVERY = [one for name in documents.names() for one in documents.statements(name)]
ACTIONS = sorted({action for name in documents.names() for action in documents.actions(name)})
KEPT = calls.kept()
USED = sorted({row.action for row in KEPT})
OURS = {"aws:ResourceTag/Project": "lowlatency-trading"}
THEIRS = {"aws:ResourceTag/Project": "another"}
# If a resource's name contains one of these parts, this project has made the resource, or AWS has made it for such
# purposes.
OUR_NAMES = (
    "trading-",
    "lowlatency-trading/",
    "/trading/",
    "/aws-service-role/",
    ":parameter/aws/service/",
    "AWS-StartSSHSession",
    "session/${aws:user",
)
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
BY_A_STACK = {"aws:CalledViaFirst": "cloudformation.amazonaws.com"}
BY_EBS = {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}


def judge(need: Need, policies: tuple[str, ...], taken_away: str = "") -> bool:
    """Return whether these policies allow what a call needs, when the action `taken_away` is removed from them."""
    statements = [one for name in policies for one in documents.statements(name)]
    return allowed(need, documents.without(taken_away, statements))


def test_a_user_can_have_all_that_one_environment_needs() -> None:
    # A fleet has no Spot instances, so no user needs the documents of both. A user can have at most ten managed
    # policies: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    assert {"fleet", "spot"} <= set(documents.names())
    assert len(documents.names()) - 1 <= 10


@pytest.mark.parametrize("name", documents.names())
def test_each_is_small_enough_with_five_percent_to_spare(name: str) -> None:
    assert documents.size(name) <= documents.LARGEST * 0.95


@pytest.mark.parametrize("action", ACTIONS)
def test_aws_knows_every_action(action: str) -> None:
    assert reference.known(action) or f"Unknown action {action}" in str(NOTES["findings"])


@pytest.mark.parametrize("row", KEPT, ids=lambda row: str(row.need))
def test_every_recorded_call_is_allowed_by_the_documents_of_its_run(row: calls.KeptNeed) -> None:
    assert judge(row.need, row.policies)


@pytest.mark.parametrize("action", USED)
def test_without_an_action_a_recorded_call_fails(action: str) -> None:
    assert any(not judge(row.need, row.policies, taken_away=action) for row in KEPT if row.action == action)


def test_what_no_recorded_call_uses_has_a_case_that_needs_it() -> None:
    assert sorted(set(ACTIONS) - set(USED)) == sorted(NOTES["needed_when"])


def _unconditional() -> Iterator[str]:
    for one in EVERY:
        if "Condition" not in one and not all(any(name in part for name in OUR_NAMES) for part in one["Resource"]):
            yield from (action for action in one["Action"] if not reference.reads(action))


def test_what_may_change_things_of_others_is_named_with_its_reason() -> None:
    assert sorted(set(_unconditional())) == sorted(NOTES["without_condition"])


def test_parliament_finds_nothing_that_is_not_explained() -> None:
    # This runs in a separate process, because parliament's code causes warnings.
    command = [sys.executable, "-W", "ignore", "-m", "tests.iam.findings"]
    done = subprocess.run(
        command, cwd=documents.FOLDER.parents[1], capture_output=True, text=True, check=True, timeout=120
    )
    explained = {name: sorted(one["finding"] for one in entries) for name, entries in NOTES["findings"].items()}
    assert json.loads(done.stdout) == explained


def ec2(kind: str) -> str:
    """Return the ARN of an example of this kind of resource in EC2."""
    return reference.ec2_arn(kind, "x-0", "us-east-1", "123456789012")


ADMINISTRATOR = {"iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess"}
GROUPS = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:0:autoScalingGroupName"
BALANCERS = "arn:aws:elasticloadbalancing:us-east-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role/lowlatency-trading/demo/trading-demo-host"


@pytest.mark.parametrize(
    "need",
    [
        Need("ec2:TerminateInstances", ec2("instance"), THEIRS),
        Need("ec2:TerminateInstances", ec2("instance")),
        Need("ec2:DeleteVpc", ec2("vpc"), THEIRS),
        Need("ec2:AuthorizeSecurityGroupIngress", ec2("security-group")),
        Need("ec2:RunInstances", ec2("instance"), {"aws:RequestTag/Project": "another"}),
        Need("ec2:RunInstances", ec2("instance")),
        Need("ec2:RunInstances", ec2("subnet"), THEIRS),
        Need("ec2:CreateTags", ec2("instance"), {**THEIRS, "aws:RequestTag/Project": "lowlatency-trading"}),
        Need("ec2:CreateTags", ec2("vpc"), {"aws:RequestTag/Project": "lowlatency-trading"}),
        Need("iam:PassRole", ROLE, {"iam:PassedToService": "lambda.amazonaws.com"}),
        Need("iam:PassRole", "arn:aws:iam::123456789012:role/admin", {"iam:PassedToService": "ec2.amazonaws.com"}),
        Need("iam:AttachRolePolicy", ROLE, ADMINISTRATOR),
        Need("iam:CreatePolicyVersion", "arn:aws:iam::123456789012:policy/trading-deployer-base-ec2"),
        Need("iam:DeleteRole", "arn:aws:iam::123456789012:role/admin"),
        Need("logs:DeleteLogGroup", "arn:aws:logs:us-east-1:123456789012:log-group:/other"),
        Need("autoscaling:DeleteAutoScalingGroup", f"{GROUPS}/other"),
        Need("autoscaling:StartInstanceRefresh", f"{GROUPS}/other"),
        Need("ec2:DeleteLaunchTemplate", ec2("launch-template"), THEIRS),
        Need("elasticloadbalancing:DeleteLoadBalancer", f"{BALANCERS}:loadbalancer/net/other/0"),
        Need("elasticloadbalancing:DeleteTargetGroup", f"{BALANCERS}:targetgroup/other/0"),
        Need("s3:GetObject", "arn:aws:s3:::other/object"),
        Need("kms:CreateGrant", KEY, BY_EBS),
        Need("ssm:StartSession", ec2("instance"), {"ssm:resourceTag/Project": "another"}),
        Need("ssm:StartSession", "arn:aws:ssm:us-east-1::document/SSM-SessionManagerRunShell"),
        Need("cloudformation:DeleteStack", "arn:aws:cloudformation:us-east-1:123456789012:stack/other/0"),
        Need("cloudwatch:SetAlarmState", "arn:aws:cloudwatch:us-east-1:123456789012:alarm:other"),
        Need("ec2:RunInstances", ec2("volume")),
        Need("ec2:CreateTags", ec2("vpc"), {**BY_A_STACK, "aws:RequestTag/Project": "another"}),
    ],
    ids=str,
)
def test_what_is_not_ours_stays_out_of_reach(need: Need) -> None:
    assert not allowed(need, EVERY)


@pytest.mark.parametrize(
    "need",
    [
        Need("ec2:TerminateInstances", ec2("instance"), OURS),
        Need("ec2:DetachVolume", ec2("volume"), OURS),
        Need("ssm:StartSession", ec2("instance"), {"ssm:resourceTag/Project": "lowlatency-trading"}),
        Need("ssm:StartSession", "arn:aws:ssm:us-east-1::document/AWS-StartSSHSession"),
        Need("kms:CreateGrant", KEY, {**BY_EBS, "kms:GrantIsForAWSResource": "true"}),
        Need("kms:Decrypt", KEY, BY_EBS),
        Need("elasticloadbalancing:ModifyTargetGroup", f"{BALANCERS}:targetgroup/trading-demo-O-alpha/0"),
        Need("iam:GetRole", "arn:aws:iam::123456789012:role/trading-demo-host"),
        Need("ec2:RunInstances", ec2("volume"), BY_A_STACK),
        Need("ec2:CreateTags", ec2("vpc"), {**BY_A_STACK, "aws:RequestTag/Project": "lowlatency-trading"}),
    ],
    ids=str,
)
def test_what_the_emulator_cannot_be_asked_is_allowed(need: Need) -> None:
    assert allowed(need, EVERY)


@pytest.mark.parametrize(
    ("statement", "fits"),
    [
        ({}, True),
        ({"Action": ["ec2:Stop*"]}, False),
        ({"Action": ["EC2:terminate?nstances"]}, True),
        ({"Resource": ["arn:aws:ec2:*:*:volume/*"]}, False),
        ({"Condition": {"StringEquals": OURS}}, True),
        ({"Condition": {"StringEquals": {"aws:resourcetag/Project": ["a", "lowlatency-trading"]}}}, True),
        ({"Condition": {"StringEquals": THEIRS}}, False),
        ({"Condition": {"StringLike": {"aws:ResourceTag/Project": "low*"}}}, True),
        ({"Condition": {"StringEquals": {"aws:ResourceTag/Project": "low*"}}}, False),
        ({"Condition": {"StringEquals": OURS, "Bool": {"aws:MultiFactorAuthPresent": "true"}}}, False),
    ],
)
def test_a_statement_allows_what_action_resource_and_all_conditions_fit(statement: dict[str, Any], fits: bool) -> None:
    base = {"Effect": "Allow", "Action": ["ec2:TerminateInstances"], "Resource": ["*"]}
    assert allowed(Need("ec2:TerminateInstances", ec2("instance"), OURS), [{**base, **statement}]) is fits


def test_an_operator_that_the_evaluator_does_not_know_is_no_silent_yes() -> None:
    statement = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"], "Condition": {"IpAddress": OURS}}
    with pytest.raises(KeyError):
        allowed(Need("ec2:StopInstances", ec2("instance"), OURS), [statement])


def test_the_schedulers_role_starts_our_hosts_whatever_key_their_volumes_have() -> None:
    account = {
        "aws_schedule_account": "123456789012",
        "aws_schedule_partition": "aws",
        "aws_schedule_environment": "demo",
    }
    policy = render("policy.json.j2", "aws_schedule", **account)
    statements = [
        {**one, **{key: documents.as_list(one[key]) for key in ("Action", "Resource")}} for one in policy["Statement"]
    ]
    ours = {"ec2:ResourceTag/Project": "lowlatency-trading", "ec2:ResourceTag/Environment": "demo"}
    assert allowed(Need("ec2:StartInstances", ec2("instance"), ours), statements)
    assert not allowed(
        Need("ec2:StartInstances", ec2("instance"), {**ours, "ec2:ResourceTag/Environment": "b"}), statements
    )
    assert allowed(Need("kms:CreateGrant", KEY, {**BY_EBS, "kms:GrantIsForAWSResource": "true"}), statements)
    assert not allowed(Need("kms:CreateGrant", KEY, BY_EBS), statements)
