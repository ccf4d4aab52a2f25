"""The module deployment_info finds an environment's resources of every kind, and names the missing ones."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Account, RunModule

ASSUME = '{"Version": "2012-10-17", "Statement": []}'
ALLOW = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}'
# The kinds of resources that an environment can have. For each, the name of the resource in the environment demo.
NAMES = {
    "instance": "trading-demo-1",
    "vpc": "trading-demo-vpc",
    "subnet": "trading-demo-subnet",
    "internet-gateway": "trading-demo-internet-gateway",
    "route-table": "trading-demo-route-table",
    "security-group": "trading-demo-security-group",
    "vpc-endpoint": "trading-demo-vpc-endpoint",
    "launch-template": "trading-demo",
    "volume": "trading-demo-volume",
    "snapshot": "trading-demo-snapshot",
    "key-pair": "trading-demo",
    "placement-group": "trading-demo",
    "flow-log": "trading-demo-vpc-flow-log",
    "elastic-ip": "trading-demo-elastic-ip",
    "iam-role": "trading-demo-host",
    "instance-profile": "trading-demo-host",
    "iam-policy": "trading-demo-host",
    "log-group": "/trading/demo/flow",
    "alarm": "trading-demo/cpu",
    "composite-alarm": "trading-demo/promise",
    "dashboard": "trading-demo",
    "sns-topic": "trading-demo-alarms",
    "bucket": "trading-demo-123456789012-us-east-1",
}


def tagged(environment: str, kind: str, name: str = "") -> dict[str, Any]:
    """Return the argument that gives a new resource the same tags as the roles do."""
    name = name or f"trading-{environment}-{kind}"
    tags = {"Project": "lowlatency-trading", "Environment": environment, "Name": name}
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": listed}]}


def make(account: Account, environment: str) -> None:
    """Create one resource of each kind, with the names that the roles give.

    One instance is created and terminated at once.
    """
    name = f"trading-{environment}"
    _make_network(account("ec2"), environment, name)
    iam, path = account("iam"), f"/lowlatency-trading/{environment}/"
    iam.create_role(RoleName=f"{name}-host", Path=path, AssumeRolePolicyDocument=ASSUME)
    if environment == "demo":  # unlike AWS, moto lists the profiles of all paths
        iam.create_instance_profile(InstanceProfileName=f"{name}-host", Path=path)
    iam.create_policy(PolicyName=f"{name}-host", Path=path, PolicyDocument=ALLOW)
    account("logs").create_log_group(logGroupName=f"/trading/{environment}/flow")
    cloudwatch = account("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=f"{name}/cpu",
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Statistic="Average",
        Period=300,
        EvaluationPeriods=1,
        Threshold=80,
        ComparisonOperator="GreaterThanThreshold",
    )
    cloudwatch.put_composite_alarm(AlarmName=f"{name}/promise", AlarmRule=f'ALARM("{name}/cpu")')
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody='{"widgets": []}')
    account("sns").create_topic(Name=f"{name}-alarms")
    account("s3").create_bucket(Bucket=f"{name}-123456789012-us-east-1")


def _make_network(ec2: Any, environment: str, name: str) -> None:
    vpc_id = ec2.create_vpc(CidrBlock="10.77.0.0/16", **tagged(environment, "vpc"))["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.77.1.0/24", **tagged(environment, "subnet"))["Subnet"]
    ec2.create_internet_gateway(**tagged(environment, "internet-gateway"))
    ec2.create_route_table(VpcId=vpc_id, **tagged(environment, "route-table"))
    ec2.create_security_group(
        VpcId=vpc_id, GroupName=name, Description="hosts", **tagged(environment, "security-group")
    )
    service = "com.amazonaws.us-east-1.s3"
    ec2.create_vpc_endpoint(VpcId=vpc_id, ServiceName=service, **tagged(environment, "vpc-endpoint"))
    ec2.create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={"InstanceType": "c6g.medium"},
        **tagged(environment, "launch-template"),
    )
    volume = ec2.create_volume(AvailabilityZone=subnet["AvailabilityZone"], Size=8, **tagged(environment, "volume"))
    ec2.create_snapshot(VolumeId=volume["VolumeId"], **tagged(environment, "snapshot"))
    ec2.create_key_pair(KeyName=name, **tagged(environment, "key-pair"))
    ec2.create_placement_group(GroupName=name, Strategy="cluster", **tagged(environment, "placement-group"))
    ec2.create_flow_logs(
        ResourceType="VPC",
        ResourceIds=[vpc_id],
        TrafficType="ALL",
        LogGroupName=f"/trading/{environment}/connections",
        DeliverLogsPermissionArn="arn:aws:iam::123456789012:role/flow",
        **tagged(environment, "vpc-flow-log"),
    )
    ec2.allocate_address(Domain="vpc", **tagged(environment, "elastic-ip"))
    image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"][0]["ImageId"]
    for called in (f"{name}-1", f"{name}-2"):
        asked = {"ImageId": image, "InstanceType": "c6g.medium", "SubnetId": subnet["SubnetId"]}
        (made,) = ec2.run_instances(**asked, MinCount=1, MaxCount=1, **tagged(environment, "instance", called))[
            "Instances"
        ]
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


def look(run_module: RunModule, environment: str, **arguments: object) -> dict[str, Any]:
    return run_module("deployment_info", region="us-east-1", environment=environment, **arguments)


def test_every_kind_of_an_environment_is_listed_and_nothing_of_another(account: Account, run_module: RunModule) -> None:
    for environment in ("demo", "demo-b", "dem"):
        make(account, environment)
    listed = look(run_module, "demo", vpc_cidr="10.77.0.0/16")["resources"]
    assert [(one["kind"], one["name"]) for one in listed] == list(NAMES.items())
    found = {one["kind"]: (one["id"].partition("-")[0], one["state"]) for one in listed}
    assert found["instance"] == ("i", "running")
    assert found["vpc"] == ("vpc", "available")
    assert found["key-pair"] == ("key", "")


def test_groups_and_balancers_are_listed_where_the_environment_has_a_fleet(
    account: Account, run_module: RunModule
) -> None:
    ec2, elb, scaling = account("ec2"), account("elbv2"), account("autoscaling")
    vpc_id = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.77.1.0/24")["Subnet"]["SubnetId"]
    image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"][0]["ImageId"]
    data = {"ImageId": image, "InstanceType": "c6g.medium"}
    for environment in ("demo", "demo-b"):
        prefix = f"trading-{environment}"
        elb.create_load_balancer(Name=f"{prefix}-N-a", Type="network", Subnets=[subnet])
        elb.create_target_group(Name=f"{prefix}-O-alpha", Protocol="TCP", Port=9001, VpcId=vpc_id)
        ec2.create_launch_template(LaunchTemplateName=f"{prefix}/alpha", LaunchTemplateData=data)
        template = {"LaunchTemplateName": f"{prefix}/alpha", "Version": "$Latest"}
        sizes = {"MinSize": 0, "MaxSize": 1, "VPCZoneIdentifier": subnet}
        scaling.create_auto_scaling_group(AutoScalingGroupName=f"{prefix}/alpha", LaunchTemplate=template, **sizes)
    # To save calls, the module looks for resources of a fleet only if the fleet's security group exists.
    assert look(run_module, "demo")["resources"] == []
    name = "trading-demo-balancer"
    tags = tagged("demo", "security-group", name)
    ec2.create_security_group(VpcId=vpc_id, GroupName=name, Description="balancers", **tags)
    listed = look(run_module, "demo")["resources"]
    assert [(one["kind"], one["name"]) for one in listed] == [
        ("security-group", name),
        ("auto-scaling-group", "trading-demo/alpha"),
        ("load-balancer", "trading-demo-N-a"),
        ("target-group", "trading-demo-O-alpha"),
    ]
    assert listed[-1]["port"] == "9001"


def test_an_empty_account_tells_who_asked_and_misses_what_is_wanted(account: Account, run_module: RunModule) -> None:
    wanted = {"vpc": ["trading-demo-vpc"], "instance": ["trading-demo-1", "trading-demo-2"]}
    report = look(run_module, "demo", wanted=wanted, vpc_cidr="10.77.0.0/16")
    asked = account("sts").get_caller_identity()
    assert (report["changed"], report["resources"]) == (False, [])
    assert (report["account"], report["arn"], report["partition"]) == (asked["Account"], asked["Arn"], "aws")
    assert report["region"] == "us-east-1"
    assert [(one["kind"], one["name"]) for one in report["missing"]] == [
        ("vpc", "trading-demo-vpc"),
        ("instance", "trading-demo-1"),
        ("instance", "trading-demo-2"),
    ]


@pytest.mark.parametrize(
    ("environment", "cidr", "said"),
    [
        ("demo", "10.78.0.0/16", "was made with 10.77.0.0/16, which AWS cannot change to 10.78.0.0/16"),
        ("demo-b", "10.77.128.0/17", "10.77.128.0/17 overlaps with 10.77.0.0/16 of trading-demo-vpc"),
    ],
)
def test_a_network_that_an_environment_cannot_have_is_refused(
    account: Account, run_module: RunModule, environment: str, cidr: str, said: str
) -> None:
    account("ec2").create_vpc(CidrBlock="10.77.0.0/16", **tagged("demo", "vpc"))
    report = look(run_module, environment, vpc_cidr=cidr)
    assert report["failed"] is True
    assert said in report["msg"]
    assert report["problems"] == [report["msg"]]


def test_a_key_of_the_accounts_own_needs_more_permissions(account: Account, run_module: RunModule) -> None:
    own = account("kms").create_key()["KeyMetadata"]["Arn"]
    # The first encrypted volume creates AWS's own key. Afterwards the default key still has its alias as its name.
    account("ec2").create_volume(AvailabilityZone="us-east-1a", Size=8, Encrypted=True)
    report = look(run_module, "demo", vpc_cidr="10.77.0.0/16")
    assert "warnings" not in report, report["warnings"]

    account("ec2").modify_ebs_default_kms_key_id(KmsKeyId=own)
    (warning,) = look(run_module, "demo", vpc_cidr="10.77.0.0/16")["warnings"]
    assert f"EBS encrypts with {own} here" in str(warning)
    assert "files/iam/customer-key.json" in str(warning)
