"""One environment from empty account to empty account, as its user sees it. The tests here build on each other."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Account
from .inventory_of_account import contents, instances

LIFE = {"trading_environment": "life", "trading_backup_bucket": "true"}


@pytest.fixture(scope="module")
def empty(account: Account) -> set[tuple[str, str]]:
    """What the account holds before: AWS gives a new account a default VPC and more."""
    return contents(account)


def test_check_mode_on_an_empty_account_lists_what_would_be_made_and_makes_nothing(
    account: Account, empty: set[tuple[str, str]]
) -> None:
    run = account.play("provision.yml", "--check", **LIFE, trading_backup_snapshots="true")
    assert run.code == 0, run.output
    assert run.changed == 0
    for line in ("vpc trading-life-vpc", "instance trading-life-1", "dashboard trading-life", "56 GiB at 0.05"):
        assert line in run.output
    assert contents(account) == empty


def test_the_first_run_makes_one_host_as_promised(account: Account) -> None:
    run = account.play("provision.yml", **LIFE)
    assert run.code == 0, run.output
    assert run.ok <= 55

    (host,) = instances(account, "life")
    assert host["InstanceType"] == "c6g.medium"
    assert host["Architecture"] == "arm64"
    assert host["State"]["Name"] == "running"
    assert host["PublicIpAddress"]
    assert host["IamInstanceProfile"]["Arn"].endswith("/trading-life-host")
    assert host["MetadataOptions"]["HttpTokens"] == "required"
    assert host["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    tags = {tag["Key"]: tag["Value"] for tag in host["Tags"]}
    assert tags == {
        "Name": "trading-life-1",
        "Project": "lowlatency-trading",
        "Environment": "life",
        "Role": "trading",
    }
    (disk,) = _volumes(account, host)
    assert (disk["VolumeType"], disk["Size"], disk["Encrypted"]) == ("gp3", 8, True)


def test_the_host_is_open_to_the_operator_only(account: Account) -> None:
    (host,) = instances(account, "life")
    (group,) = account.client("ec2").describe_security_groups(
        GroupIds=[group["GroupId"] for group in host["SecurityGroups"]]
    )["SecurityGroups"]
    opened = {
        (rule["FromPort"], rule["ToPort"], network["CidrIp"])
        for rule in group["IpPermissions"]
        for network in rule["IpRanges"]
    }
    assert opened == {(22, 22, "198.51.100.7/32"), (8000, 8000, "198.51.100.7/32")}


def test_every_resource_carries_project_and_environment(account: Account) -> None:
    ec2 = account.client("ec2")
    mine = [{"Name": "tag:Environment", "Values": ["life"]}, {"Name": "tag:Project", "Values": ["lowlatency-trading"]}]
    assert len(ec2.describe_vpcs(Filters=mine)["Vpcs"]) == 1
    assert len(ec2.describe_subnets(Filters=mine)["Subnets"]) == 1
    assert len(ec2.describe_internet_gateways(Filters=mine)["InternetGateways"]) == 1
    assert len(ec2.describe_route_tables(Filters=mine)["RouteTables"]) == 1
    assert len(ec2.describe_security_groups(Filters=mine)["SecurityGroups"]) == 1
    assert len(ec2.describe_key_pairs(Filters=mine)["KeyPairs"]) == 1


def test_the_bucket_is_versioned_encrypted_and_private(account: Account) -> None:
    s3, name = account.client("s3"), "trading-life-123456789012-us-east-1"
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    (expire,) = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert expire["Expiration"]["Days"] == 90


def test_a_second_run_after_a_newer_image_changes_nothing(account: Account) -> None:
    (before,) = instances(account, "life")
    parameter = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
    newest = account.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"]
    assert before["ImageId"] == newest
    images = account.client("ec2").describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"]
    other = next(image["ImageId"] for image in images if image["ImageId"] != newest)

    run = account.play("provision.yml", **LIFE, aws_instance_image_id=other)
    assert run.code == 0, run.output
    assert run.changed == 0, run.output
    assert [host["InstanceId"] for host in instances(account, "life")] == [before["InstanceId"]]


def test_check_mode_sees_only_the_rule_that_somebody_added_and_a_run_takes_it_away(account: Account) -> None:
    (host,) = instances(account, "life")
    group_id = host["SecurityGroups"][0]["GroupId"]
    ec2 = account.client("ec2")
    ec2.authorize_security_group_ingress(GroupId=group_id, IpProtocol="tcp", FromPort=23, ToPort=23, CidrIp="0.0.0.0/0")
    assert account.play("provision.yml", "--check", **LIFE).changed == 1
    assert account.play("provision.yml", **LIFE).changed == 1
    (group,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    assert {rule["FromPort"] for rule in group["IpPermissions"]} == {22, 8000}


def test_a_host_is_stopped_for_another_type_only_when_that_is_meant(account: Account) -> None:
    (before,) = instances(account, "life")
    larger = {**LIFE, "trading_instance_type": "c6g.large", "aws_monthly_budget_usd": "0"}
    refused = account.play("provision.yml", **larger)
    assert refused.code != 0
    assert "trading-life-1 would be stopped to become c6g.large" in refused.output
    assert "aws_instance_resize=true" in refused.output
    assert instances(account, "life") == [before]

    run = account.play("provision.yml", **larger, trading_resize="true")
    assert run.code == 0, run.output
    (host,) = instances(account, "life")
    assert (host["InstanceId"], host["InstanceType"]) == (before["InstanceId"], "c6g.large")
    assert host["State"]["Name"] == "running"


def test_destroy_asks_for_the_name_once_more(account: Account) -> None:
    before = contents(account)
    run = account.play("destroy.yml", **LIFE)
    assert run.code != 0
    assert "-e destroy_confirm=life" in run.output
    assert contents(account) == before


def test_destroy_keeps_the_data_and_says_so(account: Account, empty: set[tuple[str, str]]) -> None:
    run = account.play("destroy.yml", **LIFE, destroy_confirm="life")
    assert run.code == 0, run.output
    left = contents(account) - empty
    assert {kind for kind, _ in left} == {"snapshot", "log group", "bucket"}
    assert "snapshot trading-life-1-last" in run.output
    assert "log-group /trading/life/host" in run.output
    assert "bucket trading-life-123456789012-us-east-1" in run.output


def test_destroying_the_data_leaves_the_account_as_it_was_and_doing_it_again_is_no_error(
    account: Account, empty: set[tuple[str, str]]
) -> None:
    for expected in ("Nothing of the environment life is left", "Nothing of the environment life is left"):
        run = account.play("destroy.yml", **LIFE, destroy_confirm="life", destroy_data="true")
        assert run.code == 0, run.output
        assert expected in run.output
        assert contents(account) == empty
    assert run.changed == 0


def _volumes(account: Account, host: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.client("ec2").describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [host["InstanceId"]]}]
    )["Volumes"]
    return found
