"""The Auto Scaling groups of the sandbox, without machines.

The groups replace dead instances, wait for lifecycle hooks, and refresh their instances.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from embedded_ec2 import groups, instances, metadata
from embedded_ec2.groups import Targets, Watcher
from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import autoscaling_groups, ec2_launch_templates, ec2_machines
from moto import mock_aws
from moto.autoscaling.models import autoscaling_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends

HOOK = "mounted"


class Quiet(Watcher):
    """A watcher that runs no thread.

    A `Watcher` is normally a thread that compares groups with their instances. Here the test starts each comparison.
    """

    begun = 0

    def begin(self) -> None:
        self.begun += 1


class Account:
    """An emulated AWS account with a launch template. `group` makes an Auto Scaling group of one instance."""

    def __init__(self, clients: list[Any]) -> None:
        self.now = 1000.0
        self.health: dict[str, str] = {}
        self.draining: set[str] = set()
        self.watcher = Quiet(
            Targets(lambda _, each: self.health.get(each, "healthy"), lambda _, each: each in self.draining)
        )
        self.ec2, self.scaling, self.elbv2, self.iam = clients
        image = next(iter(ec2_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].amis))
        self.data: dict[str, Any] = {"ImageId": image, "InstanceType": "c6g.medium"}
        self.subnets = [each["SubnetId"] for each in self.ec2.describe_subnets()["Subnets"]]
        self.ec2.create_launch_template(LaunchTemplateName="host", LaunchTemplateData=self.data)

    def group(self, **options: Any) -> dict[str, Any]:
        usual: dict[str, Any] = {
            "AutoScalingGroupName": "alpha",
            "LaunchTemplate": {"LaunchTemplateName": "host", "Version": "$Latest"},
            "MinSize": 0,
            "MaxSize": 2,
            "DesiredCapacity": 1,
            "HealthCheckGracePeriod": 60,
            "VPCZoneIdentifier": self.subnets[0],
        }
        self.scaling.create_auto_scaling_group(**{**usual, **options})
        return self.described()

    def described(self) -> dict[str, Any]:
        group: dict[str, Any] = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["alpha"])[
            "AutoScalingGroups"
        ][0]
        return group

    def look(self) -> list[str]:
        """Compare all groups with their instances once. Return the ids of the instances of the test's group."""
        for group in groups.all_groups():
            groups.look(group, self.watcher.targets)
        return self.ids()

    def ids(self) -> list[str]:
        return [each["InstanceId"] for each in self.described()["Instances"]]

    def states(self) -> list[str]:
        return [each["LifecycleState"] for each in self.described()["Instances"]]

    def instance(self, instance_id: str) -> dict[str, Any]:
        described = self.ec2.describe_instances(InstanceIds=[instance_id])
        found: dict[str, Any] = described["Reservations"][0]["Instances"][0]
        return found

    def target_group(self) -> str:
        vpc = self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        made = self.elbv2.create_target_group(Name="alpha", Protocol="TCP", Port=9001, VpcId=vpc)
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    def targets(self, arn: str) -> list[str]:
        healths = self.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return [each["Target"]["Id"] for each in healths]


@pytest.fixture(scope="module")
def clients() -> Iterator[list[Any]]:
    """Yield boto3 clients. All tests share them, because it takes longer to create a client than to run a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        with mock_aws():
            yield [boto3.client(name, region_name="us-east-1") for name in ("ec2", "autoscaling", "elbv2", "iam")]


@pytest.fixture
def account(clients: list[Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    made = Account(clients)
    monkeypatch.setattr(groups, "time", SimpleNamespace(monotonic=lambda: made.now))
    hooks = Hooks(watcher=made.watcher)
    for patch in (ec2_launch_templates, ec2_machines, autoscaling_groups):
        patch.install(hooks)
    yield made
    for group in groups.all_groups():
        group.autoscaling_backend.delete_auto_scaling_group(group.name)
    autoscaling_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].__dict__.pop("activities", None)
    elbv2_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].target_groups.clear()
    made.ec2.delete_launch_template(LaunchTemplateName="host")


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return str(error.value.response["Error"]["Code"])


def test_an_instance_is_launched_as_its_template_says(account: Account) -> None:
    iam = account.iam
    iam.create_role(RoleName="host", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))
    profile = iam.create_instance_profile(InstanceProfileName="host")["InstanceProfile"]["Arn"]
    iam.add_role_to_instance_profile(InstanceProfileName="host", RoleName="host")
    security_group = account.ec2.create_security_group(GroupName="web", Description="web")["GroupId"]
    account.ec2.create_key_pair(KeyName="desk")
    newest = {
        **account.data,
        "IamInstanceProfile": {"Arn": profile},
        "KeyName": "desk",
        "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [security_group], "AssociatePublicIpAddress": True}],
        "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3, "DeleteOnTermination": True}}],
        "UserData": base64.b64encode(b"#!/bin/sh\ntrue\n").decode(),
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "host"}]}],
    }
    account.ec2.create_launch_template_version(LaunchTemplateName="host", LaunchTemplateData=newest)
    tag = {"Key": "partition", "Value": "alpha", "PropagateAtLaunch": True}
    (member,) = account.group(Tags=[tag])["Instances"]
    launched = account.instance(member["InstanceId"])
    assert member["LaunchTemplate"]["Version"] == "2"
    assert launched["KeyName"] == "desk"
    assert launched["PublicIpAddress"]
    assert launched["SubnetId"] == account.subnets[0]
    assert [group["GroupId"] for group in launched["NetworkInterfaces"][0]["Groups"]] == [security_group]
    assert launched["MetadataOptions"]["HttpTokens"] == "required"
    assert launched["IamInstanceProfile"]["Arn"] == profile
    assert {tag["Key"] for tag in launched["Tags"]} >= {"Name", "partition", "aws:autoscaling:groupName"}
    (wanted,) = instances.all_wanted()
    assert wanted.user_data == b"#!/bin/sh\ntrue\n"
    assert wanted.identity("http://api").endpoint == "http://api"
    (known,) = instances.moto_instances()
    assert metadata._meta_data(known)["autoscaling"] == {"target-lifecycle-state": "InService"}
    assert account.watcher.begun == 1


def test_one_whose_machine_has_died_is_replaced_also_in_its_grace_period(account: Account) -> None:
    (dead,) = (each["InstanceId"] for each in account.group()["Instances"])
    instances.switch_off(dead, "Server.InternalError", "the machine is gone")
    (successor,) = account.look()
    assert successor != dead
    assert account.instance(dead)["State"]["Name"] == "terminated"
    assert account.look() == [successor]
    causes = [each["Cause"] for each in account.scaling.describe_scaling_activities()["Activities"]]
    assert any("EC2 health check indicating it has been stopped" in cause for cause in causes)


def test_who_is_terminated_by_the_api_is_replaced(account: Account) -> None:
    (first,) = (each["InstanceId"] for each in account.group()["Instances"])
    account.ec2.terminate_instances(InstanceIds=[first])
    (second,) = account.ids()
    assert second != first
    account.scaling.terminate_instance_in_auto_scaling_group(InstanceId=second, ShouldDecrementDesiredCapacity=False)
    (third,) = account.ids()
    assert third != second
    account.scaling.terminate_instance_in_auto_scaling_group(InstanceId=third, ShouldDecrementDesiredCapacity=True)
    assert account.ids() == []
    assert account.described()["DesiredCapacity"] == 0


def test_health_as_a_user_or_the_load_balancer_sees_it(account: Account) -> None:
    arn = account.target_group()
    (first,) = (each["InstanceId"] for each in account.group(HealthCheckType="ELB", TargetGroupARNs=[arn])["Instances"])
    account.health[first] = "unhealthy"
    assert account.look() == [first], "its grace period is not over"
    account.now += 61
    (second,) = account.look()
    assert second != first
    assert account.targets(arn) == [second]
    account.scaling.set_instance_health(InstanceId=second, HealthStatus="Unhealthy")
    assert account.ids() != [second]


def test_no_grace_period_is_none(account: Account) -> None:
    assert account.group(HealthCheckGracePeriod=0)["HealthCheckGracePeriod"] == 0


def test_without_the_process_nobody_is_replaced(account: Account) -> None:
    (first,) = (each["InstanceId"] for each in account.group()["Instances"])
    account.scaling.suspend_processes(AutoScalingGroupName="alpha", ScalingProcesses=["ReplaceUnhealthy"])
    instances.switch_off(first, "Server.InternalError", "the machine is gone")
    assert account.look() == [first]
    account.scaling.resume_processes(AutoScalingGroupName="alpha")
    assert account.look() != [first]


def hook(**options: Any) -> dict[str, Any]:
    usual = {"LifecycleHookName": HOOK, "LifecycleTransition": groups.LAUNCHING, "HeartbeatTimeout": 100}
    return {**usual, **options}


def test_a_hook_holds_the_launch_until_it_is_completed_and_then_the_target_is_registered(account: Account) -> None:
    arn = account.target_group()
    account.group(LifecycleHookSpecificationList=[hook()], TargetGroupARNs=[arn])
    assert account.look()
    assert (account.states(), account.targets(arn)) == (["Pending:Wait"], [])
    complete = {"LifecycleHookName": HOOK, "AutoScalingGroupName": "alpha", "LifecycleActionResult": "CONTINUE"}
    assert refused(account.scaling.complete_lifecycle_action, **complete, InstanceId="i-0") == "ValidationError"
    account.scaling.complete_lifecycle_action(**complete, InstanceId=account.ids()[0])
    assert (account.states(), account.targets(arn)) == (["InService"], account.ids())


def test_a_target_group_that_is_detached_loses_the_targets_in_service_and_needs_none(account: Account) -> None:
    arn = account.target_group()
    detach = {"AutoScalingGroupName": "alpha", "TargetGroupARNs": [arn]}
    account.group(TargetGroupARNs=[arn])
    assert account.targets(arn) == account.ids()
    account.scaling.detach_load_balancer_target_groups(**detach)
    assert (account.described()["TargetGroupARNs"], account.targets(arn)) == ([], [])

    account.scaling.delete_auto_scaling_group(AutoScalingGroupName="alpha", ForceDelete=True)
    account.group(LifecycleHookSpecificationList=[hook()], TargetGroupARNs=[arn])
    assert account.states() == ["Pending:Wait"]
    account.scaling.detach_load_balancer_target_groups(**detach)
    assert account.described()["TargetGroupARNs"] == []


def test_a_launch_that_is_given_up_or_takes_too_long_is_tried_with_another_instance(account: Account) -> None:
    account.group(LifecycleHookSpecificationList=[hook()])
    (first,) = account.ids()
    of_it = {"LifecycleHookName": HOOK, "AutoScalingGroupName": "alpha"}
    account.scaling.complete_lifecycle_action(**of_it, InstanceId=first, LifecycleActionResult="ABANDON")
    (second,) = account.ids()
    account.now += 99
    account.scaling.record_lifecycle_action_heartbeat(**of_it, InstanceId=second)
    account.now += 99
    assert account.look() == [second]
    account.now += 2
    (third,) = account.look()
    assert len({first, second, third}) == 3
    account.scaling.put_lifecycle_hook(AutoScalingGroupName="alpha", **hook(DefaultResult="CONTINUE"))
    account.scaling.terminate_instance_in_auto_scaling_group(InstanceId=third, ShouldDecrementDesiredCapacity=False)
    account.now += 101
    assert account.look()
    assert account.states() == ["InService"]


def test_who_leaves_lets_its_sessions_end_and_is_held_by_hooks_while_another_is_launched(account: Account) -> None:
    arn = account.target_group()
    ends = hook(LifecycleTransition=groups.TERMINATING)
    account.group(LifecycleHookSpecificationList=[ends], TargetGroupARNs=[arn])
    (first,) = account.ids()
    account.draining.add(first)
    account.scaling.terminate_instance_in_auto_scaling_group(InstanceId=first, ShouldDecrementDesiredCapacity=False)
    assert account.states() == ["Terminating", "InService"]
    assert account.targets(arn) == account.ids()[1:]
    account.draining.clear()
    assert first in account.look()
    assert account.states() == ["Terminating:Wait", "InService"]
    assert account.instance(first)["State"]["Name"] == "running"
    account.now += 101
    assert first not in account.look()
    assert account.instance(first)["State"]["Name"] == "terminated"


@pytest.mark.parametrize("at_most", [100, 200])
def test_a_refresh_replaces_by_the_newest_version_one_by_one(account: Account, at_most: int) -> None:
    account.group(DesiredCapacity=2)
    old = account.ids()
    account.ec2.create_launch_template_version(LaunchTemplateName="host", LaunchTemplateData=account.data)
    preferences = {"InstanceWarmup": 10, "MaxHealthyPercentage": at_most}
    start = {"AutoScalingGroupName": "alpha", "Preferences": preferences}
    refresh = account.scaling.start_instance_refresh(**start)["InstanceRefreshId"]
    assert refused(account.scaling.start_instance_refresh, **start) == "InstanceRefreshInProgress"
    sizes = set()
    for _ in range(20):
        account.now += 4
        sizes.add(len(account.look()))
    (described,) = account.scaling.describe_instance_refreshes(AutoScalingGroupName="alpha")["InstanceRefreshes"]
    assert (described["InstanceRefreshId"], described["Status"]) == (refresh, "Successful")
    assert described["PercentageComplete"] == 100
    assert max(sizes) == (2 if at_most == 100 else 3)
    assert len(account.ids()) == 2
    assert not set(account.ids()) & set(old)
    assert {each["LaunchTemplate"]["Version"] for each in account.described()["Instances"]} == {"2"}


def test_a_refresh_skips_what_is_right_already_and_can_be_cancelled(account: Account) -> None:
    account.group()
    before = account.ids()
    account.now += 120
    start = {"AutoScalingGroupName": "alpha", "Preferences": {"SkipMatching": True, "InstanceWarmup": 0}}
    account.scaling.start_instance_refresh(**start)
    of_it = {"AutoScalingGroupName": "alpha"}
    assert account.scaling.describe_instance_refreshes(**of_it)["InstanceRefreshes"][0]["Status"] == "Successful"
    assert account.look() == before
    assert refused(account.scaling.cancel_instance_refresh, **of_it) == "ActiveInstanceRefreshNotFound"
    account.scaling.start_instance_refresh(**of_it, Preferences={"InstanceWarmup": 900})
    account.scaling.cancel_instance_refresh(**of_it)
    assert account.scaling.describe_instance_refreshes(**of_it)["InstanceRefreshes"][0]["Status"] == "Cancelled"


def test_instances_are_spread_over_the_subnets(account: Account) -> None:
    account.group(DesiredCapacity=2, VPCZoneIdentifier=",".join(account.subnets[:2]))
    assert {account.instance(each)["SubnetId"] for each in account.ids()} == set(account.subnets[:2])


def test_a_launch_that_fails_is_told_and_tried_again(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.group(DesiredCapacity=0)
    launch = groups._launch

    def fail(*_arguments: Any) -> Any:
        raise RuntimeError("no capacity.")

    monkeypatch.setattr(groups, "_launch", fail)
    account.scaling.set_desired_capacity(AutoScalingGroupName="alpha", DesiredCapacity=1)
    (failed,) = account.scaling.describe_scaling_activities()["Activities"]
    assert (failed["StatusCode"], failed["StatusMessage"]) == ("Failed", "no capacity. Launching EC2 instance failed.")
    monkeypatch.setattr(groups, "_launch", launch)
    assert account.look() == []
    account.now += 3
    assert len(account.look()) == 1


def test_what_aws_refuses_is_refused(account: Account) -> None:
    account.group()
    assert refused(account.group) == "AlreadyExists"
    too_many = {"AutoScalingGroupName": "alpha", "DesiredCapacity": 3}
    assert refused(account.scaling.set_desired_capacity, **too_many) == "ValidationError"
    assert refused(account.scaling.delete_auto_scaling_group, AutoScalingGroupName="alpha") == "ResourceInUse"
    never = hook(HeartbeatTimeout=5)
    assert refused(account.scaling.put_lifecycle_hook, AutoScalingGroupName="alpha", **never) == "ValidationError"
    (instance_id,) = account.ids()
    account.scaling.delete_auto_scaling_group(AutoScalingGroupName="alpha", ForceDelete=True)
    assert account.instance(instance_id)["State"]["Name"] == "terminated"


def test_the_watcher_runs_from_the_first_group_to_the_last(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "LOOK_EVERY_SECONDS", 0.01)
    watcher = Watcher()
    monkeypatch.setattr(autoscaling_groups, "_hooks", Hooks(watcher=watcher))
    assert not watcher.is_running
    account.group(DesiredCapacity=0)
    thread = watcher._thread
    assert thread
    assert thread.is_alive()
    account.scaling.delete_auto_scaling_group(AutoScalingGroupName="alpha")
    thread.join(10)
    assert not watcher.is_running
