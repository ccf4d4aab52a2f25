"""The module host_group manages an Auto Scaling group of one host.

The group's lifecycle hook is created before its first host. A new launch template does not replace the present host.
"""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Account, RunModule, apply_thrice

NAME = "trading-demo/alpha"
TAGS = {"Project": "lowlatency-trading", "Environment": "demo", "Name": "trading-demo-alpha"}


@pytest.fixture
def launch(account: Account) -> dict[str, Any]:
    """Return the module's arguments that describe a host: subnet, instance settings and tags."""
    ec2 = account("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.77.1.0/24", AvailabilityZone="us-east-1a")["Subnet"]
    image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"][0]["ImageId"]
    data = {"ImageId": image, "InstanceType": "c6g.medium", "UserData": "IyEvYmluL3No"}
    return {"subnet_id": subnet["SubnetId"], "launch": data, "tags": TAGS}


def target_group(account: Account, launch: dict[str, Any], name: str) -> str:
    (subnet,) = account("ec2").describe_subnets(SubnetIds=[launch["subnet_id"]])["Subnets"]
    made = account("elbv2").create_target_group(Name=name, Protocol="TCP", Port=9001, VpcId=subnet["VpcId"])
    return str(made["TargetGroups"][0]["TargetGroupArn"])


def look(account: Account) -> dict[str, Any]:
    """Return what the AWS account contains: launch templates, groups, hooks, and running hosts."""
    scaling, ec2 = account("autoscaling"), account("ec2")
    groups = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    for group in groups:
        del group["Instances"]  # their states change without the module
        group["Tags"].sort(key=lambda tag: str(tag["Key"]))
    pages = ec2.describe_instances()["Reservations"]
    return {
        "templates": ec2.describe_launch_templates()["LaunchTemplates"],
        "groups": groups,
        "hooks": scaling.describe_lifecycle_hooks(AutoScalingGroupName=NAME)["LifecycleHooks"],
        "hosts": [
            (one["InstanceId"], {tag["Key"]: tag["Value"] for tag in one["Tags"]})
            for page in pages
            for one in page["Instances"]
            if one["State"]["Name"] == "running"
        ],
    }


def test_it_is_made_changed_and_deleted(account: Account, run_module: RunModule, launch: dict[str, Any]) -> None:
    def apply(**arguments: object) -> dict[str, Any]:
        return apply_thrice(run_module, lambda: look(account), "host_group", name=NAME, **arguments)

    first, second = (target_group(account, launch, name) for name in ("first", "second"))
    assert apply(**launch, target_group_arns=[first], grace_seconds=900)["version"] == 1
    there = look(account)
    (group,), (hook,) = there["groups"], there["hooks"]
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (1, 1, 1)
    assert (group["HealthCheckType"], group["HealthCheckGracePeriod"]) == ("ELB", 900)
    assert group["TargetGroupARNs"] == [first]
    assert group["VPCZoneIdentifier"] == launch["subnet_id"]
    assert (hook["LifecycleTransition"], hook["DefaultResult"]) == ("autoscaling:EC2_INSTANCE_LAUNCHING", "ABANDON")
    assert hook["HeartbeatTimeout"] == 900
    (host,) = there["hosts"]
    assert host[1].items() >= TAGS.items()

    # A new launch template is used for the next host. The present host remains.
    changed = {**launch, "launch": {**launch["launch"], "UserData": "IyEvYmluL2Jhc2g="}}
    changed["tags"] = {"Team": "desk", **{key: TAGS[key] for key in ("Project", "Environment")}}
    assert apply(**changed, target_group_arns=[second], grace_seconds=600, hook_seconds=300)["version"] == 2
    there = look(account)
    assert [one[0] for one in there["hosts"]] == [host[0]]
    assert (there["groups"][0]["TargetGroupARNs"], there["groups"][0]["HealthCheckGracePeriod"]) == ([second], 600)
    assert there["hooks"][0]["HeartbeatTimeout"] == 300
    assert {tag["Key"]: tag["Value"] for tag in there["groups"][0]["Tags"]} == changed["tags"]

    assert "version" not in apply(state="absent")
    assert look(account) == {"templates": [], "groups": [], "hooks": [], "hosts": []}


def test_a_group_that_somebody_made_larger_becomes_one_host_again(
    account: Account, run_module: RunModule, launch: dict[str, Any]
) -> None:
    given = {**launch, "name": NAME, "region": "us-east-1"}
    run_module("host_group", **given)
    account("autoscaling").update_auto_scaling_group(AutoScalingGroupName=NAME, MaxSize=2, DesiredCapacity=2)
    assert run_module("host_group", **given)["changed"] is True
    (group,) = look(account)["groups"]
    assert (group["MaxSize"], group["DesiredCapacity"]) == (1, 1)


def test_a_group_that_somebody_gave_another_template_gets_its_own_again(
    account: Account, run_module: RunModule, launch: dict[str, Any]
) -> None:
    given = {**launch, "name": NAME, "region": "us-east-1"}
    run_module("host_group", **given)
    ec2, scaling = account("ec2"), account("autoscaling")
    ec2.create_launch_template(LaunchTemplateName="other", LaunchTemplateData=launch["launch"])
    for name, version in (("other", "$Latest"), (NAME, "1")):
        template = {"LaunchTemplateName": name, "Version": version}
        scaling.update_auto_scaling_group(AutoScalingGroupName=NAME, LaunchTemplate=template)
        assert [run_module("host_group", **given)["changed"] for _ in range(2)] == [True, False]
        (group,) = look(account)["groups"]
        own = group["LaunchTemplate"]
        assert (own["LaunchTemplateName"], own["Version"]) == (NAME, "$Latest")


def test_a_group_whose_template_was_made_anew_is_launched_from_that(
    account: Account, run_module: RunModule, launch: dict[str, Any]
) -> None:
    given = {**launch, "name": NAME, "region": "us-east-1"}
    run_module("host_group", **given)
    account("ec2").delete_launch_template(LaunchTemplateName=NAME)
    assert [run_module("host_group", **given)["changed"] for _ in range(2)] == [True, False]
    there = look(account)
    assert there["groups"][0]["LaunchTemplate"]["LaunchTemplateId"] == there["templates"][0]["LaunchTemplateId"]


def test_a_template_that_a_run_left_without_a_group_is_used(
    account: Account, run_module: RunModule, launch: dict[str, Any]
) -> None:
    account("ec2").create_launch_template(LaunchTemplateName=NAME, LaunchTemplateData={"InstanceType": "c6g.medium"})
    report = run_module("host_group", name=NAME, region="us-east-1", **launch)
    assert (report.get("changed"), report.get("version")) == (True, 2), report
    assert len(look(account)["groups"]) == 1
