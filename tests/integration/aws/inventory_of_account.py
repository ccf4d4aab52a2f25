"""Lists an AWS account's resources directly from the API.

It uses no code of the collection, because the tests check this code.
"""

from __future__ import annotations

from typing import Any

_GONE = {"terminated", "shutting-down"}


def contents(account: Any) -> set[tuple[str, str]]:
    """Return all resources of the AWS account that an environment could have left.

    A resource is described by its kind, and by its name or id. The resources of all environments are included.
    """
    ec2, iam, cloudwatch = account.client("ec2"), account.client("iam"), account.client("cloudwatch")
    elb = account.client("elbv2")
    instances = [found for page in ec2.describe_instances()["Reservations"] for found in page["Instances"]]
    gone = {one["InstanceId"] for one in instances if one["State"]["Name"] in _GONE}
    found: list[tuple[str, str]] = []
    found += [("instance", one["InstanceId"]) for one in instances if one["InstanceId"] not in gone]
    found += [("volume", one["VolumeId"]) for one in ec2.describe_volumes()["Volumes"]]
    found += [("vpc", one["VpcId"]) for one in ec2.describe_vpcs()["Vpcs"]]
    found += [("subnet", one["SubnetId"]) for one in ec2.describe_subnets()["Subnets"]]
    found += [("gateway", one["InternetGatewayId"]) for one in ec2.describe_internet_gateways()["InternetGateways"]]
    found += [("route table", one["RouteTableId"]) for one in ec2.describe_route_tables()["RouteTables"]]
    found += [("security group", one["GroupId"]) for one in ec2.describe_security_groups()["SecurityGroups"]]
    # A network interface is still listed for seconds after its instance has ended. It is left out here.
    interfaces = ec2.describe_network_interfaces()["NetworkInterfaces"]
    found += [
        ("interface", one["NetworkInterfaceId"])
        for one in interfaces
        if one.get("Attachment", {}).get("InstanceId") not in gone
    ]
    found += [("key pair", one["KeyName"]) for one in ec2.describe_key_pairs()["KeyPairs"]]
    found += [("address", one["AllocationId"]) for one in ec2.describe_addresses()["Addresses"]]
    found += [("snapshot", one["SnapshotId"]) for one in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]]
    found += [("placement group", one["GroupName"]) for one in ec2.describe_placement_groups()["PlacementGroups"]]
    found += [
        ("launch template", one["LaunchTemplateId"]) for one in ec2.describe_launch_templates()["LaunchTemplates"]
    ]
    found += [("target group", one["TargetGroupName"]) for one in elb.describe_target_groups()["TargetGroups"]]
    found += [("balancer", one["LoadBalancerName"]) for one in elb.describe_load_balancers()["LoadBalancers"]]
    groups = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    found += [("group", one["AutoScalingGroupName"]) for one in groups]
    found += [("flow log", one["FlowLogId"]) for one in ec2.describe_flow_logs()["FlowLogs"]]
    endpoints = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    found += [("endpoint", one["VpcEndpointId"]) for one in endpoints if not one["State"].lower().startswith("delet")]
    found += [("role", one["RoleName"]) for one in iam.list_roles()["Roles"]]
    found += [("profile", one["InstanceProfileName"]) for one in iam.list_instance_profiles()["InstanceProfiles"]]
    found += [("policy", one["PolicyName"]) for one in iam.list_policies(Scope="Local")["Policies"]]
    found += [("log group", one["logGroupName"]) for one in account.client("logs").describe_log_groups()["logGroups"]]
    found += [("topic", one["TopicArn"]) for one in account.client("sns").list_topics()["Topics"]]
    found += [("alarm", one["AlarmName"]) for one in cloudwatch.describe_alarms()["MetricAlarms"]]
    found += [("dashboard", one["DashboardName"]) for one in cloudwatch.list_dashboards()["DashboardEntries"]]
    found += [("bucket", one["Name"]) for one in account.client("s3").list_buckets()["Buckets"]]
    return set(found)


def instances(account: Any, environment: str) -> list[dict[str, Any]]:
    """Return the environment's instances, sorted by name. Terminated and terminating ones are left out."""
    pages = account.client("ec2").describe_instances(Filters=[{"Name": "tag:Environment", "Values": [environment]}])
    found = [one for page in pages["Reservations"] for one in page["Instances"] if one["State"]["Name"] not in _GONE]
    return sorted(found, key=name)


def name(resource: dict[str, Any]) -> str:
    """Return the value of the tag Name of an EC2 resource."""
    return next((str(tag["Value"]) for tag in resource["Tags"] if tag["Key"] == "Name"), "")
