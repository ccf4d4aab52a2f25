"""The resources that the playbooks have made, as the API describes them.

They have the names and property names of the CloudFormation template, so that a test can compare the two.
"""

from __future__ import annotations

from typing import Any


def resources(account: Any, environment: str) -> dict[str, dict[str, Any]]:
    """Return the properties of each resource by the resource's id in the CloudFormation template."""
    return {**_network(account, environment), **_host(account, environment), **_identity(account, environment)}


def tags(resource: dict[str, Any]) -> dict[str, str]:
    """Return the tags of a resource as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in resource["Tags"]}


def _mine(environment: str) -> list[dict[str, Any]]:
    return [{"Name": "tag:Environment", "Values": [environment]}]


def _network(account: Any, environment: str) -> dict[str, dict[str, Any]]:
    ec2, mine = account.client("ec2"), _mine(environment)
    (vpc,) = ec2.describe_vpcs(Filters=mine)["Vpcs"]
    for attribute in ("EnableDnsHostnames", "EnableDnsSupport"):
        name = attribute[0].lower() + attribute[1:]
        vpc[attribute] = ec2.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute=name)[attribute]["Value"]
    (table,) = ec2.describe_route_tables(Filters=mine)["RouteTables"]
    (route,) = [one for one in table["Routes"] if one.get("GatewayId", "").startswith("igw-")]
    return {
        "Vpc": vpc,
        "Gateway": ec2.describe_internet_gateways(Filters=mine)["InternetGateways"][0],
        "Subnet": ec2.describe_subnets(Filters=mine)["Subnets"][0],
        "Routes": table,
        "InternetRoute": route,
        "S3Endpoint": ec2.describe_vpc_endpoints(Filters=mine)["VpcEndpoints"][0],
        "SecurityGroup": _security_group(ec2, mine, "host"),
        "GeneratorGroup": _security_group(ec2, mine, "generator"),
    }


def _security_group(ec2: Any, mine: list[dict[str, Any]], whose: str) -> dict[str, Any]:
    named = [{"Name": "group-name", "Values": [f"*-{whose}"]}]
    (group,) = ec2.describe_security_groups(Filters=mine + named)["SecurityGroups"]
    group["GroupDescription"] = group["Description"]
    for key, permissions in (("Ingress", "IpPermissions"), ("Egress", "IpPermissionsEgress")):
        group[f"SecurityGroup{key}"] = [
            {
                **{name: rule[name] for name in ("IpProtocol", "FromPort", "ToPort") if rule.get(name) is not None},
                **network,
            }
            for rule in sorted(group[permissions], key=lambda rule: int(rule.get("FromPort") or 0))
            for network in rule["IpRanges"]
        ]
    return dict(group)


def _host(account: Any, environment: str) -> dict[str, dict[str, Any]]:
    ec2, mine = account.client("ec2"), _mine(environment)
    (host,) = ec2.describe_instances(Filters=mine)["Reservations"][0]["Instances"]
    for mapping in host["BlockDeviceMappings"]:
        (volume,) = ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
        mapping["Ebs"] = {
            "VolumeType": volume["VolumeType"],
            "VolumeSize": volume["Size"],
            "Encrypted": volume["Encrypted"],
            "DeleteOnTermination": mapping["Ebs"]["DeleteOnTermination"],
        }
    group = f"/trading/{environment}/"
    (logs,) = account.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    return {
        "Host": host,
        "Logs": {"LogGroupName": logs["logGroupName"], "RetentionInDays": logs["retentionInDays"]},
    }


def _identity(account: Any, environment: str) -> dict[str, dict[str, Any]]:
    iam = account.client("iam")
    path, name = f"/lowlatency-trading/{environment}/", f"trading-{environment}-host"
    role = iam.get_role(RoleName=name)["Role"]
    profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    (found,) = iam.list_policies(Scope="Local", PathPrefix=path)["Policies"]
    version = iam.get_policy_version(PolicyArn=found["Arn"], VersionId=found["DefaultVersionId"])["PolicyVersion"]
    policy = iam.get_policy(PolicyArn=found["Arn"])["Policy"]
    return {
        "HostRole": role,
        "HostProfile": profile,
        "HostPolicy": {
            "ManagedPolicyName": policy["PolicyName"],
            "Path": policy["Path"],
            "Description": policy["Description"],
            "PolicyDocument": version["Document"],
        },
    }
