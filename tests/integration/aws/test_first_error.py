"""A wrong input or an unsuitable AWS account ends a run before anything is created.

The first error names the problem, its place and the remedy.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from .conftest import Account, Keys
from .inventory_of_account import contents


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"trading_instance_type": "c6g.mediun"}, ["trading_instance_type: c6g.mediun is not offered in us-east-1"]),
        (
            {"trading_vpc_cidr": "172.31.0.0/16", "trading_subnet_cidr": "172.31.1.0/24"},
            ["trading_vpc_cidr: 172.31.0.0/16 overlaps"],
        ),
        (
            {"trading_budget_usd": "36"},
            ["A month would cost 38.31 USD, the budget is 36", "trading_budget_usd"],
        ),
    ],
)
def test_an_unusable_input_is_refused_by_name_before_the_first_resource(
    account: Account, variables: dict[str, str], words: list[str]
) -> None:
    before = contents(account)
    run = account.play("provision.yml", **{"trading_environment": "refused", **variables})
    assert run.code != 0
    first = run.output[run.output.index("[ERROR]") :].partition("Origin:")[0]
    for word in words:
        assert word in first
    assert "Traceback" not in run.output
    assert contents(account) == before


def test_all_unusable_inputs_are_refused_at_once_each_by_name(account: Account) -> None:
    before = contents(account)
    wrong = {
        "trading_environment": "Prod_1",
        "trading_region": "virginia",
        "trading_instance_count": 0,
        "trading_operator_cidr": "0.0.0.0/0",
        "trading_client_cidrs": ["198.51.100.7/24"],
        "trading_vpc_cidr": "10.0.0.0/8",
        "trading_subnet_cidr": "10.1.0.0/29",
        "trading_public_key_file": "/nowhere/key.pub",
        "trading_tags": {"aws:mine": "x"},
    }
    run = account.play("provision.yml", "-e", json.dumps(wrong))
    assert run.code != 0
    said = run.output[run.output.index("[ERROR]") :].partition("Origin:")[0]
    assert [name for name in wrong if f"{name}: " not in said] == []
    for words in ("trading_environment: 'Prod_1'", "trading_operator_cidr: 0.0.0.0/0", "trading_allow_world=true"):
        assert words in said
    assert "Traceback" not in run.output
    assert contents(account) == before


def test_an_image_of_another_architecture_is_refused_before_the_first_resource(account: Account) -> None:
    before = contents(account)
    images = account.client("ec2").describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
    run = account.play("provision.yml", trading_environment="refused", trading_image_id=images[0]["ImageId"])
    assert run.code != 0
    assert "trading_image_id: there is no image of architecture arm64, which c6g.medium has, under ami-" in run.output
    assert contents(account) == before


def test_a_quota_that_is_used_up_is_refused_before_the_first_resource(account: Account) -> None:
    ec2 = account.client("ec2")
    limit = account.client("service-quotas").get_service_quota(ServiceCode="vpc", QuotaCode="L-F678F1CE")
    free = int(limit["Quota"]["Value"]) - len(ec2.describe_vpcs()["Vpcs"])
    made = [ec2.create_vpc(CidrBlock=f"10.{200 + number}.0.0/16")["Vpc"]["VpcId"] for number in range(free)]
    try:
        before = contents(account)
        run = account.play("provision.yml", trading_environment="refused")
        assert run.code != 0
        assert "trading_region: 1 more VPCs are needed, and of the account's 5 in this region 5 are used" in run.output
        assert "L-F678F1CE" in run.output
        assert contents(account) == before
    finally:
        for identity in made:
            ec2.delete_vpc(VpcId=identity)


def test_an_endpoint_that_nobody_answers_at_is_named(account: Account) -> None:
    nobody = dataclasses.replace(account, url="http://127.0.0.1:9")
    run = nobody.play("provision.yml", trading_environment="refused")
    assert run.code != 0
    first = run.output[run.output.index("[ERROR]") :].splitlines()[0]
    for word in ("Cannot ask AWS who is calling in region us-east-1", "http://127.0.0.1:9", "AWS_ENDPOINT_URL"):
        assert word in first
    assert "Traceback" not in run.output


def test_credentials_that_aws_does_not_know_are_named(account: Account) -> None:
    stranger = dataclasses.replace(account, deployer=Keys("AKIAIOSFODNN7EXAMPLE", "wrong"))
    run = stranger.play("provision.yml", trading_environment="refused")
    assert run.code != 0
    first = run.output[run.output.index("[ERROR]") :].splitlines()[0]
    for word in (
        "Cannot ask AWS who is calling in region us-east-1",
        "AWS does not know this access key",
        "AWS_PROFILE",
    ):
        assert word in first
    assert "Traceback" not in run.output


def test_a_folder_for_the_host_keys_that_cannot_be_made_ends_the_run_before_the_first_resource(
    account: Account, tmp_path: Path
) -> None:
    before = contents(account)
    (tmp_path / "ssh").write_text("no folder")
    known_hosts = str(tmp_path / "ssh" / "of" / "known_hosts")
    run = account.play("provision.yml", trading_environment="refused", trading_known_hosts_file=known_hosts)
    assert run.code != 0
    assert str(tmp_path / "ssh" / "of") in run.output
    assert contents(account) == before
