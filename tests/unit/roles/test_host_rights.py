"""In the environment's bucket, a host may only put new objects, and only below its own name.

This limit holds even when another policy gives the host more rights.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.iam.decide import decided
from tests.iam.evaluate import Need

from .templates import render

BUCKET = "trading-demo-123456789012-us-east-1"
ARN = f"arn:aws:s3:::{BUCKET}"
ROLE = "arn:aws:iam::123456789012:role/lowlatency-trading/demo/trading-demo-host"
ME = "AROAEXAMPLE:i-0123"
NEW = {"s3:if-none-match": "*"}
ACCOUNT = {"account": "123456789012", "partition": "aws"}
IDENTITY = render(
    "host-policy.json.j2", "aws_identity", **{f"aws_identity_{key}": value for key, value in ACCOUNT.items()}
)["Statement"]
RESOURCE = render(
    "bucket-policy.json.j2", "aws_backup", **{f"aws_backup_{key}": value for key, value in ACCOUNT.items()}
)["Statement"]
EVERYTHING: list[dict[str, Any]] = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
REFUSED = [
    ("s3:GetObject", f"{ARN}/hosts/{ME}/a", NEW),
    ("s3:GetObjectVersion", f"{ARN}/hosts/{ME}/a", {}),
    ("s3:ListBucket", ARN, {}),
    ("s3:ListBucketVersions", ARN, {}),
    ("s3:DeleteObject", f"{ARN}/hosts/{ME}/a", {}),
    ("s3:DeleteObjectVersion", f"{ARN}/hosts/{ME}/a", {}),
    ("s3:PutObject", f"{ARN}/hosts/{ME}/a", {}),  # would overwrite an object; parts of an upload need this too
    ("s3:PutObject", f"{ARN}/hosts/AROAEXAMPLE:i-0999/a", NEW),
    ("s3:PutObject", f"{ARN}/hosts/{ME}0/a", NEW),
    ("s3:PutObject", f"{ARN}/trading-demo-1.tar.gz", NEW),
    ("s3:PutBucketPolicy", ARN, {}),
    ("s3:PutObjectRetention", f"{ARN}/hosts/{ME}/a", {}),
    ("s3:BypassGovernanceRetention", f"{ARN}/hosts/{ME}/a", {}),
]


def need(action: str, resource: str, context: dict[str, str]) -> Need:
    of_host = {"aws:PrincipalArn": ROLE, "aws:userid": ME, "aws:SecureTransport": "true"}
    return Need(action, resource, {**of_host, **context})


def test_a_host_puts_new_objects_below_its_own_name() -> None:
    assert decided(need("s3:PutObject", f"{ARN}/hosts/{ME}/trading-demo-1/a", NEW), IDENTITY, RESOURCE)


def test_without_tls_it_puts_none() -> None:
    clear = {**NEW, "aws:SecureTransport": "false"}
    assert not decided(need("s3:PutObject", f"{ARN}/hosts/{ME}/a", clear), IDENTITY, RESOURCE)


@pytest.mark.parametrize(("action", "resource", "context"), REFUSED)
def test_its_own_rights_give_it_nothing_else(action: str, resource: str, context: dict[str, str]) -> None:
    assert not decided(need(action, resource, context), IDENTITY)


@pytest.mark.parametrize(("action", "resource", "context"), REFUSED)
def test_the_bucket_refuses_a_host_whatever_rights_somebody_gives_its_role(
    action: str, resource: str, context: dict[str, str]
) -> None:
    assert not decided(need(action, resource, context), EVERYTHING, RESOURCE)


def test_who_is_no_host_is_not_meant() -> None:
    deployer = {"aws:PrincipalArn": "arn:aws:iam::123456789012:user/deployer", "aws:userid": "AIDAEXAMPLE"}
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObjectVersion"):
        assert decided(need(action, f"{ARN}/trading-demo-1.tar.gz", deployer), EVERYTHING, RESOURCE)


def test_without_a_backup_the_host_has_no_right_in_any_bucket() -> None:
    given = {f"aws_identity_{key}": value for key, value in ACCOUNT.items()}
    policy = render("host-policy.json.j2", "aws_identity", **given, aws_identity_backup="none")
    assert "s3:" not in str(policy)


FLEET = render("host-policy.json.j2", "aws_fleet", **{f"aws_fleet_{key}": value for key, value in ACCOUNT.items()})[
    "Statement"
]
EC2 = "arn:aws:ec2:us-east-1:123456789012"
GROUP = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:0:autoScalingGroupName"
OURS = {
    "aws:ResourceTag/Project": "lowlatency-trading",
    "aws:ResourceTag/Environment": "demo",
    "aws:ResourceTag/Partition": "alpha",
}


@pytest.mark.parametrize(
    ("action", "resource", "context", "may"),
    [
        ("ec2:DescribeVolumes", "*", {}, True),
        ("ec2:AttachVolume", f"{EC2}:volume/vol-0", OURS, True),
        ("ec2:AttachVolume", f"{EC2}:instance/i-0", OURS, True),
        ("autoscaling:CompleteLifecycleAction", f"{GROUP}/trading-demo/alpha", {}, True),
        ("ec2:AttachVolume", f"{EC2}:volume/vol-0", {**OURS, "aws:ResourceTag/Environment": "demo-b"}, False),
        ("ec2:AttachVolume", f"{EC2}:volume/vol-0", {key: OURS[key] for key in list(OURS)[:2]}, False),
        ("ec2:DetachVolume", f"{EC2}:volume/vol-0", OURS, False),
        ("ec2:DeleteVolume", f"{EC2}:volume/vol-0", OURS, False),
        ("autoscaling:CompleteLifecycleAction", f"{GROUP}/trading-demo-b/alpha", {}, False),
        ("autoscaling:UpdateAutoScalingGroup", f"{GROUP}/trading-demo/alpha", {}, False),
        ("s3:GetObject", f"{ARN}/hosts/{ME}/a", {}, False),
        ("s3:PutObject", f"{ARN}/hosts/{ME}/a", NEW, False),
        ("ssm:GetParameter", "arn:aws:ssm:us-east-1:123456789012:parameter/trading/demo/password", {}, False),
    ],
)
def test_a_host_of_a_group_attaches_its_volume_and_says_that_it_is_ready(
    action: str, resource: str, context: dict[str, str], may: bool
) -> None:
    assert decided(need(action, resource, context), FLEET) is may
