"""The module network_load_balancer creates a load balancer with security groups.

For each listener it creates a target group. When it removes the load balancer, no resource remains.
"""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Account, RunModule, apply_thrice

NAME = "trading-demo-N-a"
TAGS = {"Project": "lowlatency-trading", "Environment": "demo"}
ALPHA = {"port": 9001, "target_group": "trading-demo-O-alpha", "health_path": "/health?partition=alpha"}
BETA = {"port": 9011, "target_group": "trading-demo-O-beta", "health_path": "/health?partition=beta"}


@pytest.fixture
def network(account: Account) -> dict[str, Any]:
    """Create a subnet and a security group. Return the module's arguments that describe the network."""
    ec2 = account("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.77.1.0/24", AvailabilityZone="us-east-1a")["Subnet"]
    group = ec2.create_security_group(VpcId=vpc_id, GroupName="balancer", Description="balancer")["GroupId"]
    return {"vpc_id": vpc_id, "subnet_ids": [subnet["SubnetId"]], "security_group_ids": [group], "scheme": "internal"}


def look(account: Account) -> dict[str, Any]:
    """Return what the AWS account contains: load balancers, target groups and listeners.

    Their attributes and tags are included.
    """
    elb = account("elbv2")
    balancers = elb.describe_load_balancers()["LoadBalancers"]
    groups = elb.describe_target_groups()["TargetGroups"]
    arns = [one["LoadBalancerArn"] for one in balancers]
    described = [*arns, *(one["TargetGroupArn"] for one in groups)]
    return {
        "balancers": balancers,
        "cross": [elb.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"] for arn in arns],
        "listeners": {
            one["Port"]: one for arn in arns for one in elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]
        },
        "groups": {one["TargetGroupName"]: one for one in groups},
        "attributes": {
            name: elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
            for name, arn in ((one["TargetGroupName"], one["TargetGroupArn"]) for one in groups)
        },
        "tags": elb.describe_tags(ResourceArns=described)["TagDescriptions"] if described else [],
    }


def test_it_is_made_changed_and_deleted(account: Account, run_module: RunModule, network: dict[str, Any]) -> None:
    def apply(**arguments: object) -> dict[str, Any]:
        return apply_thrice(run_module, lambda: look(account), "network_load_balancer", name=NAME, **arguments)

    made = apply(**network, listeners=[ALPHA], tags=TAGS, health_port=8443, health_protocol="HTTPS")
    there = look(account)
    (balancer,) = there["balancers"]
    assert (balancer["Type"], balancer["Scheme"]) == ("network", "internal")
    assert balancer["SecurityGroups"] == network["security_group_ids"]
    assert (made["arn"], made["dns_name"]) == (balancer["LoadBalancerArn"], balancer["DNSName"])
    assert {"Key": "load_balancing.cross_zone.enabled", "Value": "false"} in there["cross"][0]
    assert there["listeners"][9001]["Protocol"] == "TCP"
    group = there["groups"]["trading-demo-O-alpha"]
    assert made["target_groups"] == {"trading-demo-O-alpha": group["TargetGroupArn"]}
    assert (group["Protocol"], group["Port"], group["TargetType"]) == ("TCP", 9001, "instance")
    health = {key: group[f"HealthCheck{key}"] for key in ("Protocol", "Port", "Path")}
    assert health == {"Protocol": "HTTPS", "Port": "8443", "Path": "/health?partition=alpha"}
    attributes = {one["Key"]: one["Value"] for one in there["attributes"]["trading-demo-O-alpha"]}
    assert attributes["preserve_client_ip.enabled"] == "true"
    assert attributes["deregistration_delay.timeout_seconds"] == "300"
    assert all({tag["Key"]: tag["Value"] for tag in one["Tags"]} == TAGS for one in there["tags"])
    assert len(there["tags"]) == 2

    given = {**network, "tags": {**TAGS, "Team": "desk"}, "health_port": 8443, "health_protocol": "HTTPS"}
    apply(**given, listeners=[ALPHA, BETA], deregistration_seconds=600)
    there = look(account)
    assert set(there["listeners"]) == {9001, 9011}
    assert set(there["groups"]) == {"trading-demo-O-alpha", "trading-demo-O-beta"}
    for listed in there["attributes"].values():
        assert {"Key": "deregistration_delay.timeout_seconds", "Value": "600"} in listed
    apply(**given, listeners=[BETA], deregistration_seconds=600)
    assert (set(look(account)["listeners"]), set(look(account)["groups"])) == ({9011}, {"trading-demo-O-beta"})
    apply(state="absent")
    assert look(account) == {"balancers": [], "cross": [], "listeners": {}, "groups": {}, "attributes": {}, "tags": []}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scheme": "internet-facing"}, "the balancer is internal and cannot become internet-facing"),
        ({"listeners": [{**ALPHA, "port": 9005}]}, "trading-demo-O-alpha has port 9001 and cannot get 9005"),
    ],
)
def test_what_aws_never_changes_is_refused(
    account: Account, run_module: RunModule, network: dict[str, Any], changed: dict[str, Any], said: str
) -> None:
    given = {**network, "name": NAME, "region": "us-east-1", "listeners": [ALPHA]}
    run_module("network_load_balancer", **given)
    before = look(account)
    report = run_module("network_load_balancer", **{**given, **changed})
    assert report["failed"] is True
    assert said in report["msg"]
    assert look(account) == before


def test_a_target_group_that_a_run_left_without_a_balancer_is_used(
    account: Account, run_module: RunModule, network: dict[str, Any]
) -> None:
    account("elbv2").create_target_group(Name=ALPHA["target_group"], Protocol="TCP", Port=9001, VpcId=network["vpc_id"])
    report = run_module("network_load_balancer", name=NAME, region="us-east-1", listeners=[ALPHA], **network)
    assert report.get("changed") is True, report
    assert list(look(account)["groups"]) == [ALPHA["target_group"]]
