# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that find every AWS resource of one environment, and change nothing. Several modules use them.

A resource is ``{"kind": …, "id": …, "name": …, "state": …}``. An instance also has its ``type``, a volume its ``zone``,
a target group its ``port``. EC2's resources are found by the tags Project and Environment. Resources of other services
are found by their names, which contain the environment's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable

from ansible_collections.lowlatency.trading.plugins.module_utils.aws.aws import PROJECT

Resource = dict[str, str]

# Resources in these states do not count. EC2 lists a terminated instance with its tags for about an hour.
_GONE = frozenset({"terminated", "shutting-down", "deleted", "deleting"})


def _pages(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page[key]


def _name(tags: list[dict[str, str]]) -> str:
    return next((tag["Value"] for tag in tags if tag["Key"] == "Name"), "")


def _ec2(client: Any, environment: str) -> Iterator[Resource]:
    filters = [
        {"Name": "tag:Project", "Values": [PROJECT]},
        {"Name": "tag:Environment", "Values": [environment]},
    ]
    # For each kind of resource: the kind, the operation, the key of the list in the answer, the keys of id and state.
    simple: list[tuple[str, str, str, str, str]] = [
        ("vpc", "describe_vpcs", "Vpcs", "VpcId", "State"),
        ("subnet", "describe_subnets", "Subnets", "SubnetId", "State"),
        ("internet-gateway", "describe_internet_gateways", "InternetGateways", "InternetGatewayId", ""),
        ("route-table", "describe_route_tables", "RouteTables", "RouteTableId", ""),
        ("security-group", "describe_security_groups", "SecurityGroups", "GroupId", ""),
        ("vpc-endpoint", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", "State"),
        ("launch-template", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId", ""),
        ("volume", "describe_volumes", "Volumes", "VolumeId", "State"),
    ]
    for reservation in _pages(client, "describe_instances", "Reservations", Filters=filters):
        for found in reservation["Instances"]:
            state = found["State"]["Name"]
            instance = _resource("instance", found["InstanceId"], _name(found.get("Tags", [])), state)
            yield {**instance, "type": found["InstanceType"]}
    for kind, operation, key, identity, state_key in simple:
        for found in _pages(client, operation, key, Filters=filters):
            resource = _resource(kind, found[identity], _name(found.get("Tags", [])), found.get(state_key, ""))
            if kind == "launch-template":  # its tag Name has the hosts' name
                resource["name"] = found["LaunchTemplateName"]
            yield {**resource, "zone": found["AvailabilityZone"]} if kind == "volume" else resource
    for found in _pages(client, "describe_snapshots", "Snapshots", Filters=filters, OwnerIds=["self"]):
        yield _resource("snapshot", found["SnapshotId"], _name(found.get("Tags", [])), found["State"])
    for found in client.describe_key_pairs(Filters=filters)["KeyPairs"]:
        yield _resource("key-pair", found["KeyPairId"], found["KeyName"])
    for found in client.describe_placement_groups(Filters=filters)["PlacementGroups"]:
        yield _resource("placement-group", found["GroupId"], found["GroupName"], found["State"])
    for found in client.describe_flow_logs(Filters=filters)["FlowLogs"]:
        yield _resource("flow-log", found["FlowLogId"], _name(found.get("Tags", [])))
    for found in client.describe_addresses(Filters=filters)["Addresses"]:
        yield _resource("elastic-ip", found["AllocationId"], _name(found.get("Tags", [])))


def _iam(client: Any, environment: str) -> Iterator[Resource]:
    path = f"/{PROJECT}/{environment}/"
    for found in _pages(client, "list_roles", "Roles", PathPrefix=path):
        yield _resource("iam-role", found["Arn"], found["RoleName"])
    for found in _pages(client, "list_instance_profiles", "InstanceProfiles", PathPrefix=path):
        yield _resource("instance-profile", found["Arn"], found["InstanceProfileName"])
    for found in _pages(client, "list_policies", "Policies", PathPrefix=path, Scope="Local"):
        yield _resource("iam-policy", found["Arn"], found["PolicyName"])


def _logs(client: Any, environment: str) -> Iterator[Resource]:
    for found in _pages(client, "describe_log_groups", "logGroups", logGroupNamePrefix=f"/trading/{environment}/"):
        yield _resource("log-group", found["arn"], found["logGroupName"])


def _cloudwatch(client: Any, environment: str) -> Iterator[Resource]:
    prefix = f"trading-{environment}/"  # no environment's name has a slash
    kinds = {"MetricAlarms": "alarm", "CompositeAlarms": "composite-alarm"}
    for page in client.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    ):
        for key, kind in kinds.items():
            for found in page.get(key, []):
                yield _resource(kind, found["AlarmArn"], found["AlarmName"])
    for found in _pages(client, "list_dashboards", "DashboardEntries", DashboardNamePrefix=f"trading-{environment}"):
        # Without this comparison the prefix trading-prod would also match the dashboard trading-production.
        if found["DashboardName"] == f"trading-{environment}":
            yield _resource("dashboard", found["DashboardArn"], found["DashboardName"])


def _sns(client: Any, environment: str) -> Iterator[Resource]:
    for found in _pages(client, "list_topics", "Topics"):
        name = found["TopicArn"].rsplit(":", 1)[-1]
        if name == f"trading-{environment}-alarms":
            yield _resource("sns-topic", found["TopicArn"], name)


def _s3(client: Any, environment: str) -> Iterator[Resource]:
    # A bucket is named trading-ENVIRONMENT-ACCOUNT-REGION, with the 12 digits of the AWS account.
    ours = re.compile(rf"trading-{re.escape(environment)}-\d{{12}}-[a-z0-9-]+")
    for found in client.list_buckets()["Buckets"]:
        if ours.fullmatch(found["Name"]):
            yield _resource("bucket", found["Name"], found["Name"])


_READERS: list[tuple[str, Callable[[Any, str], Iterator[Resource]]]] = [
    ("ec2", _ec2),
    ("iam", _iam),
    ("logs", _logs),
    ("cloudwatch", _cloudwatch),
    ("sns", _sns),
    ("s3", _s3),
]


def _scaling(client: Any, environment: str) -> Iterator[Resource]:
    head = f"trading-{environment}/"
    for found in _pages(client, "describe_auto_scaling_groups", "AutoScalingGroups"):
        if found["AutoScalingGroupName"].startswith(head):
            yield _resource("auto-scaling-group", found["AutoScalingGroupARN"], found["AutoScalingGroupName"])


def _balancing(client: Any, environment: str) -> Iterator[Resource]:
    # A capital letter, which no environment's name contains, separates the names' parts (see fleet.py).
    ours = re.compile(rf"trading-{re.escape(environment)}-[FNO]-.+")
    for found in _pages(client, "describe_load_balancers", "LoadBalancers"):
        if ours.fullmatch(found["LoadBalancerName"]):
            yield _resource("load-balancer", found["LoadBalancerArn"], found["LoadBalancerName"])
    for found in _pages(client, "describe_target_groups", "TargetGroups"):
        if ours.fullmatch(found["TargetGroupName"]):
            group = _resource("target-group", found["TargetGroupArn"], found["TargetGroupName"])
            yield {**group, "port": str(found["Port"])}


# These services are queried only for a fleet. A fleet is recognised by its security group, which is created first and
# deleted last.
_READERS_OF_FLEETS: list[tuple[str, Callable[[Any, str], Iterator[Resource]]]] = [
    ("autoscaling", _scaling),
    ("elbv2", _balancing),
]


def _has_fleet(resources: Sequence[Resource], environment: str) -> bool:
    return ("security-group", f"trading-{environment}-balancer") in {(one["kind"], one["name"]) for one in resources}


def _resource(kind: str, identity: str, name: str, state: str = "") -> Resource:
    return {"kind": kind, "id": identity, "name": name or identity, "state": state}


def observe(client_of: Callable[[str], Any], environment: str) -> list[Resource]:
    """Return every resource of ``environment``. ``client_of`` is a function: name of a service → its boto3 client."""
    found = [
        resource
        for service, reader in _READERS
        for resource in reader(client_of(service), environment)
        if resource["state"] not in _GONE
    ]
    if _has_fleet(found, environment):
        found += [one for service, reader in _READERS_OF_FLEETS for one in reader(client_of(service), environment)]
    return found


def missing(wanted: Mapping[str, Sequence[str]], present: Sequence[Resource]) -> list[dict[str, str]]:
    """Return a list with a dictionary of kind and name for each wanted resource that does not exist.

    ``wanted`` maps kinds of resources to names. ``present`` are the resources that exist.
    """
    there = {(resource["kind"], resource["name"]) for resource in present}
    return [
        {"kind": kind, "name": name} for kind, names in wanted.items() for name in names if (kind, name) not in there
    ]


def _tagged(client: Any, beginning: str) -> Iterator[str]:
    filters = [{"Name": "key", "Values": ["Environment"]}, {"Name": "value", "Values": [f"{beginning}*"]}]
    for found in _pages(client, "describe_tags", "Tags", Filters=filters):
        yield found["Value"]


def _in_paths(client: Any, beginning: str) -> Iterator[str]:
    kinds: list[tuple[str, str, dict[str, str]]] = [
        ("list_roles", "Roles", {}),
        ("list_instance_profiles", "InstanceProfiles", {}),
        ("list_policies", "Policies", {"Scope": "Local"}),
    ]
    for operation, key, more in kinds:
        for found in _pages(client, operation, key, PathPrefix=f"/{PROJECT}/{beginning}", **more):
            yield found["Path"].split("/")[2]


def _in_log_groups(client: Any, beginning: str) -> Iterator[str]:
    for found in _pages(client, "describe_log_groups", "logGroups", logGroupNamePrefix=f"/trading/{beginning}"):
        yield found["logGroupName"].split("/")[2]


def _in_alarms(client: Any, beginning: str) -> Iterator[str]:
    prefix, kinds = f"trading-{beginning}", ["MetricAlarm", "CompositeAlarm"]
    for page in client.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix, AlarmTypes=kinds):
        for found in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]:
            yield found["AlarmName"].partition("/")[0].partition("-")[2]
    for found in _pages(client, "list_dashboards", "DashboardEntries", DashboardNamePrefix=prefix):
        yield found["DashboardName"].partition("-")[2]


def _in_topics(client: Any, beginning: str) -> Iterator[str]:
    for found in _pages(client, "list_topics", "Topics"):
        ours = re.fullmatch(rf".*:trading-({re.escape(beginning)}.*)-alarms", found["TopicArn"])
        if ours:
            yield ours[1]


def _in_buckets(client: Any, beginning: str) -> Iterator[str]:
    for found in client.list_buckets()["Buckets"]:
        ours = re.fullmatch(rf"trading-({re.escape(beginning)}.*?)-\d{{12}}-[a-z0-9-]+", found["Name"])
        if ours:
            yield ours[1]


_FINDERS: list[tuple[str, Callable[[Any, str], Iterator[str]]]] = [
    ("ec2", _tagged),
    ("iam", _in_paths),
    ("logs", _in_log_groups),
    ("cloudwatch", _in_alarms),
    ("sns", _in_topics),
    ("s3", _in_buckets),
]


def environments(client_of: Callable[[str], Any], beginning: str) -> dict[str, list[Resource]]:
    """Return a dictionary: environment's name → its resources.

    It has each environment whose name starts with ``beginning``, except environments without resources: EC2 still
    returns the tags of instances that ended in the last hour.
    """
    names = {name for service, finder in _FINDERS for name in finder(client_of(service), beginning)}
    found = {name: observe(client_of, name) for name in sorted(names)}
    return {name: resources for name, resources in found.items() if resources}
