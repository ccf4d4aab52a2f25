"""One environment is created, used and removed, with every option that can be used at the same time.

Each test continues from the state that the previous test left. test_environments_side_by_side tests an environment
without options.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Account
from .inventory_of_account import contents, instances, name

pytestmark = pytest.mark.usefixtures("in_written_order")

LIFE = {
    "trading_environment": "life",
    "trading_instance_count": "2",
    "trading_zone_count": "2",
    "trading_backup": "bucket",
    "aws_identity_session_manager": "true",
    "aws_instance_detailed_monitoring": "true",
    "trading_elastic_ip": "true",
    "trading_journal_volume_gib": "4",
    "aws_instance_placement": "spread",
    "aws_instance_termination_protection": "true",
    "aws_instance_threads_per_core": "1",
    "trading_budget_usd": "0",
    "aws_network_flow_logs": "true",
    "aws_network_ipv6": "true",
    "trading_operator_ipv6_cidrs": "2001:db8::/64",
}


def test_check_mode_on_an_empty_account_lists_what_would_be_made_and_makes_nothing(
    account: Account, empty: set[tuple[str, str]]
) -> None:
    run = account.play("provision.yml", "--check", **LIFE, trading_backup_snapshots="true")
    assert run.code == 0, run.output
    assert run.changed == 0
    load = "2 x c6g.large, 0.5 h a month at 0.068"
    for line in ("vpc trading-life-vpc", "instance trading-life-1", "dashboard trading-life", "GiB at 0.05", load):
        assert line in run.output
    assert contents(account) == empty


def test_the_first_run_makes_the_hosts_as_promised(account: Account) -> None:
    run = account.play("provision.yml", **LIFE)
    assert run.code == 0, run.output
    assert run.ok <= 62

    hosts = instances(account, "life")
    assert [name(host) for host in hosts] == ["trading-life-1", "trading-life-2"]
    assert [host["Placement"]["AvailabilityZone"] for host in hosts] == ["us-east-1a", "us-east-1b"]
    for host in hosts:
        assert host["InstanceType"] == "c6g.medium"
        assert host["Architecture"] == "arm64"
        assert host["State"]["Name"] == "running"
        assert host["IamInstanceProfile"]["Arn"].endswith("/trading-life-host")
        assert host["MetadataOptions"]["HttpTokens"] == "required"
        assert host["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        assert host["Placement"]["GroupName"] == "trading-life"
        assert host["Monitoring"]["State"] == "enabled"
        assert host["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 1}
        tags = {tag["Key"]: tag["Value"] for tag in host["Tags"]}
        assert tags == {
            "Name": name(host),
            "Project": "lowlatency-trading",
            "Environment": "life",
            "Role": "trading",
        }
        goes = {one["Ebs"]["VolumeId"]: one["Ebs"]["DeleteOnTermination"] for one in host["BlockDeviceMappings"]}
        disks = {disk["Size"]: disk for disk in _volumes(account, host)}
        assert {(disk["VolumeType"], disk["Encrypted"]) for disk in disks.values()} == {("gp3", True)}
        assert {size: goes[disk["VolumeId"]] for size, disk in disks.items()} == {8: True, 4: False}
        assert name(disks[4]) == f"{name(host)}-journal"


def test_each_host_has_an_address_of_its_own(account: Account) -> None:
    addresses = account.client("ec2").describe_addresses()["Addresses"]
    assert {one["InstanceId"]: one["PublicIp"] for one in addresses} == {
        host["InstanceId"]: host["PublicIpAddress"] for host in instances(account, "life")
    }


def test_aws_refuses_to_terminate_a_host(account: Account) -> None:
    ec2 = account.client("ec2")
    with pytest.raises(ec2.exceptions.ClientError, match="OperationNotPermitted"):
        ec2.terminate_instances(InstanceIds=[instances(account, "life")[0]["InstanceId"]])


def test_every_connection_of_the_vpc_is_written(account: Account) -> None:
    (flow,) = account.client("ec2").describe_flow_logs()["FlowLogs"]
    assert (flow["LogGroupName"], flow["TrafficType"], flow["DeliverLogsStatus"]) == (
        "/trading/life/flow",
        "ALL",
        "SUCCESS",
    )
    assert flow["DeliverLogsPermissionArn"].endswith("/lowlatency-trading/life/trading-life-flow")


def test_s3_and_ipv6_have_their_routes(account: Account) -> None:
    mine = [{"Name": "tag:Environment", "Values": ["life"]}]
    (table,) = account.client("ec2").describe_route_tables(Filters=mine)["RouteTables"]
    gateways = {
        route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock"): route["GatewayId"].split("-")[0]
        for route in table["Routes"]
        if route["GatewayId"] != "local"
    }
    assert (gateways["0.0.0.0/0"], gateways["::/0"]) == ("igw", "igw")
    assert "vpce" in gateways.values()
    for subnet in account.client("ec2").describe_subnets(Filters=mine)["Subnets"]:
        assert subnet["AssignIpv6AddressOnCreation"] is True
        assert subnet["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].endswith("::/64")


def test_the_host_is_open_to_the_operator_only(account: Account) -> None:
    host = instances(account, "life")[0]
    ec2 = account.client("ec2")
    (group,) = ec2.describe_security_groups(GroupIds=[group["GroupId"] for group in host["SecurityGroups"]])[
        "SecurityGroups"
    ]
    opened = {
        (rule["FromPort"], rule["ToPort"], network.get("CidrIp") or network["CidrIpv6"])
        for rule in group["IpPermissions"]
        for network in rule["IpRanges"] + rule["Ipv6Ranges"]
    }
    assert opened == {(port, port, cidr) for port in (22, 8000) for cidr in ("198.51.100.7/32", "2001:db8::/64")}
    named = [{"Name": "group-name", "Values": ["trading-life-generator"]}]
    (generators,) = ec2.describe_security_groups(Filters=named)["SecurityGroups"]
    of_generators = [rule for rule in group["IpPermissions"] if rule["UserIdGroupPairs"]]
    assert {(rule["FromPort"], rule["ToPort"]) for rule in of_generators} == {(9001, 9001), (9002, 9002)}
    assert {pair["GroupId"] for rule in of_generators for pair in rule["UserIdGroupPairs"]} == {generators["GroupId"]}
    assert [(rule["FromPort"], rule["IpRanges"][0]["CidrIp"]) for rule in generators["IpPermissions"]] == [
        (22, "198.51.100.7/32")
    ]


def test_every_resource_carries_project_and_environment(account: Account) -> None:
    ec2 = account.client("ec2")
    mine = [{"Name": "tag:Environment", "Values": ["life"]}, {"Name": "tag:Project", "Values": ["lowlatency-trading"]}]
    assert len(ec2.describe_vpcs(Filters=mine)["Vpcs"]) == 1
    assert len(ec2.describe_subnets(Filters=mine)["Subnets"]) == 2
    assert len(ec2.describe_internet_gateways(Filters=mine)["InternetGateways"]) == 1
    assert len(ec2.describe_route_tables(Filters=mine)["RouteTables"]) == 1
    assert len(ec2.describe_security_groups(Filters=mine)["SecurityGroups"]) == 2
    assert len(ec2.describe_key_pairs(Filters=mine)["KeyPairs"]) == 1
    assert len(ec2.describe_volumes(Filters=mine)["Volumes"]) == 4
    assert len(ec2.describe_addresses(Filters=mine)["Addresses"]) == 2
    assert len(ec2.describe_vpc_endpoints(Filters=mine)["VpcEndpoints"]) == 1
    assert len(ec2.describe_placement_groups(Filters=mine)["PlacementGroups"]) == 1


def test_the_bucket_is_versioned_encrypted_and_private(account: Account) -> None:
    s3, name = account.client("s3"), "trading-life-123456789012-us-east-1"
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]}
    assert {rule: rules[rule]["Expiration"]["Days"] for rule in rules} == {"expire": 90, "expire-journal": 30}
    refused = {one["Sid"] for one in json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]}
    assert refused == {"TlsOnly", "HostsOnlyPut", "HostsPutBelowTheirName", "HostsPutNewObjects"}


def test_a_backup_comes_back_from_the_bucket(account: Account, tmp_path: Path) -> None:
    inventory, archives = tmp_path / "hosts", tmp_path / "archives"
    inventory.write_text("localhost ansible_connection=local\n[trading]\ntrading-life-1\ntrading-life-2\n")
    archives.mkdir()
    archive = archives / "trading-life-1.tar.gz"
    archive.write_bytes(b"journal and passwords")
    # Run only what the controller does. The API has no machines here, so the inventory's host cannot be reached.
    upload = tmp_path / "upload.yml"
    role = {"name": "lowlatency.trading.aws_backup", "tasks_from": "upload.yml"}
    tasks = [{"name": "Upload", "ansible.builtin.import_role": role}]
    play = {"name": "Upload", "hosts": "trading", "become": True, "gather_facts": False, "tasks": tasks}
    (tmp_path / "collections").symlink_to(ROOT / "collections")
    upload.write_text(json.dumps([play]))
    transfer = {**LIFE, "trading_backup_dir": str(archives)}
    run = account.play(str(upload), "--limit", "trading-life-1", inventory=str(inventory), **transfer)
    assert run.code == 0, run.output
    assert (
        account.client("s3").get_object(Bucket="trading-life-123456789012-us-east-1", Key="trading-life-1.tar.gz")[
            "ServerSideEncryption"
        ]
        == "AES256"
    )

    archive.unlink()
    shipped = "hosts/AROA:i-2/trading-life-2/20261130T080000.000000Z/complete"
    account.client("s3").put_object(Bucket="trading-life-123456789012-us-east-1", Key=shipped, Body=b"")
    run = account.play("restore.yml", "--limit", "localhost", inventory=str(inventory), **transfer)
    assert run.code == 0, run.output
    assert archive.read_bytes() == b"journal and passwords"

    # The archive that the controller has is neither replaced nor asked for.
    archive.write_bytes(b"of the controller")
    account.client("s3").delete_object(Bucket="trading-life-123456789012-us-east-1", Key="trading-life-1.tar.gz")
    run = account.play("restore.yml", "--limit", "localhost", inventory=str(inventory), **transfer)
    assert run.code == 0, run.output
    assert archive.read_bytes() == b"of the controller"
    assert f"{archive} is used as it is" in run.output
    assert [path.name for path in archives.glob("**/*-2.tar.gz")] == ["trading-life-2.tar.gz"]
    assert (archives / "shipped/trading-life-2.tar.gz").is_file()


def test_of_a_newer_image_and_a_rule_that_somebody_added_only_the_rule_is_a_change(account: Account) -> None:
    before = instances(account, "life")
    parameter = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
    newest = account.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"]
    assert {host["ImageId"] for host in before} == {newest}
    ec2 = account.client("ec2")
    images = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"]
    other = next(image["ImageId"] for image in images if image["ImageId"] != newest)
    group_id = before[0]["SecurityGroups"][0]["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group_id, IpProtocol="tcp", FromPort=23, ToPort=23, CidrIp="0.0.0.0/0")

    # Check mode reports the additional rule and nothing else. The next test's run removes the rule.
    run = account.play("provision.yml", "--check", **LIFE, trading_image_id=other)
    assert run.code == 0, run.output
    assert run.changed == 1, run.output
    assert opened_ports(account, group_id) == {22, 23, 8000, 9001, 9002}
    assert [host["InstanceId"] for host in instances(account, "life")] == [host["InstanceId"] for host in before]


def opened_ports(account: Account, group_id: str) -> set[int]:
    """Return the first port of each of the security group's rules."""
    (group,) = account.client("ec2").describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    return {rule["FromPort"] for rule in group["IpPermissions"]}


def test_a_lost_host_comes_back_in_another_zone_at_its_address(account: Account) -> None:
    ec2 = account.client("ec2")
    lost, other = instances(account, "life")
    ec2.modify_instance_attribute(InstanceId=lost["InstanceId"], DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[lost["InstanceId"]])

    run = account.play("provision.yml", **LIFE, trading_availability_zone="us-east-1c")
    assert run.code == 0, run.output
    assert opened_ports(account, other["SecurityGroups"][0]["GroupId"]) == {22, 8000, 9001, 9002}
    first, second = instances(account, "life")
    assert (name(first), first["Placement"]["AvailabilityZone"]) == ("trading-life-1", "us-east-1c")
    assert first["InstanceId"] != lost["InstanceId"]
    assert first["PublicIpAddress"] == lost["PublicIpAddress"]
    assert second["InstanceId"] == other["InstanceId"]
    mine = [{"Name": "tag:Environment", "Values": ["life"]}]
    subnets = {one["AvailabilityZone"]: one for one in ec2.describe_subnets(Filters=mine)["Subnets"]}
    assert {zone: subnets[zone]["CidrBlock"] for zone in sorted(subnets)} == {
        "us-east-1a": "10.77.1.0/24",
        "us-east-1b": "10.77.2.0/24",
        "us-east-1c": "10.77.3.0/24",
    }
    (table,) = ec2.describe_route_tables(Filters=mine)["RouteTables"]
    routed = {each["SubnetId"] for each in table["Associations"] if "SubnetId" in each}
    assert routed == {one["SubnetId"] for one in subnets.values()}
    journals = {
        name(one): one["AvailabilityZone"] for one in ec2.describe_volumes(Filters=mine)["Volumes"] if one["Size"] == 4
    }
    assert journals == {
        "trading-life-1-journal": "us-east-1c",
        "trading-life-1-journal-us-east-1a": "us-east-1a",
        "trading-life-2-journal": "us-east-1b",
    }


def test_a_host_is_stopped_for_another_type_only_when_that_is_meant(account: Account) -> None:
    before = instances(account, "life")
    larger = {**LIFE, "trading_instance_type": "c6g.large"}
    refused = account.play("provision.yml", **larger)
    assert refused.code != 0
    assert "trading-life-1, trading-life-2 would be stopped to become c6g.large" in refused.output
    assert "aws_instance_resize=true" in refused.output
    assert instances(account, "life") == before


def test_a_host_beyond_the_wanted_number_is_named_and_left_alone_and_a_host_keeps_its_key(
    account: Account, tmp_path: Path
) -> None:
    before = instances(account, "life")
    another = tmp_path / "another"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", another], check=True)
    fewer = {**LIFE, "trading_instance_type": "c6g.large", "trading_resize": "true", "trading_instance_count": "1"}
    run = account.play("provision.yml", **fewer, trading_public_key_file=f"{another}.pub")
    assert run.code == 0, run.output
    assert "trading_instance_count: 1, and there is more: trading-life-2" in run.output
    first, second = instances(account, "life")
    assert (first["InstanceId"], first["InstanceType"]) == (before[0]["InstanceId"], "c6g.large")
    assert first["State"]["Name"] == "running"
    assert second == before[1]
    mine = [{"Name": "tag:Environment", "Values": ["life"]}]
    pairs = {pair["KeyName"] for pair in account.client("ec2").describe_key_pairs(Filters=mine)["KeyPairs"]}
    assert len(pairs) == 2
    assert first["KeyName"] == before[0]["KeyName"]
    assert first["KeyName"] in pairs


def test_destroy_asks_for_the_name_once_more(account: Account) -> None:
    before = contents(account)
    run = account.play("destroy.yml", **LIFE)
    assert run.code != 0
    assert "-e trading_destroy_confirm=life" in run.output
    assert contents(account) == before


def test_destroy_keeps_the_data_and_says_so(account: Account, empty: set[tuple[str, str]]) -> None:
    run = account.play("destroy.yml", **LIFE, trading_destroy_confirm="life")
    assert run.code == 0, run.output
    left = contents(account) - empty
    assert {kind for kind, _ in left} == {"snapshot", "volume", "log group", "bucket"}
    for host in ("trading-life-1", "trading-life-2"):
        assert f"snapshot {host}-last" in run.output
        assert f"volume {host}-journal" in run.output
    assert "log-group /trading/life/host" in run.output
    assert "log-group /trading/life/flow" in run.output
    assert "bucket trading-life-123456789012-us-east-1" in run.output
    assert "Kept in the bucket trading-life-123456789012-us-east-1" in run.output


def test_destroying_the_data_leaves_the_account_as_it_was(account: Account, empty: set[tuple[str, str]]) -> None:
    run = account.play("destroy.yml", **LIFE, trading_destroy_confirm="life", trading_destroy_data="true")
    assert run.code == 0, run.output
    assert "Nothing of the environment life is left" in run.output
    assert contents(account) == empty


@pytest.mark.proof
def test_destroying_what_is_gone_changes_nothing_and_is_no_error(account: Account, empty: set[tuple[str, str]]) -> None:
    run = account.play("destroy.yml", **LIFE, trading_destroy_confirm="life", trading_destroy_data="true")
    assert run.code == 0, run.output
    assert run.changed == 0, run.output
    assert "Nothing of the environment life is left" in run.output
    assert contents(account) == empty


def _volumes(account: Account, host: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.client("ec2").describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [host["InstanceId"]]}]
    )["Volumes"]
    return found
