#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: network_load_balancer
short_description: Manage a Network Load Balancer with its listeners and target groups
version_added: 0.1.0
description:
  - Create, change and delete a Network Load Balancer for TCP, with one target group for each of its listeners.
  - Give it security groups. AWS accepts the first one only at the creation of a balancer, and
    M(community.aws.elb_network_lb) does not support them.
  - Keep cross-zone load balancing off, preserve the client's address, and do not terminate connections of an unhealthy
    or deregistered target.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  name:
    description: The name of the balancer, 32 characters at most.
    type: str
    required: true
  scheme:
    description: The kind of addresses of the balancer, which cannot be changed. Required when O(state=present).
    type: str
    choices: [internal, internet-facing]
  subnet_ids:
    description: The subnets of the balancer, one in each of its zones. Required when O(state=present).
    type: list
    elements: str
  security_group_ids:
    description: The security groups of the balancer. Required when O(state=present).
    type: list
    elements: str
  vpc_id:
    description: The VPC of the targets. Required when O(state=present).
    type: str
  listeners:
    description: The ports of the balancer, each with its target group.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port of the listener and of its targets.
        type: int
        required: true
      target_group:
        description: The name of the target group, 32 characters at most.
        type: str
        required: true
      health_path:
        description: The path of the health check, for which a healthy target answers 200.
        type: str
        required: true
  health_port:
    description: The port of the targets for health checks.
    type: int
    default: 8000
  health_protocol:
    description: The protocol of health checks.
    type: str
    choices: [HTTP, HTTPS]
    default: HTTP
  health_interval_seconds:
    description: The time in seconds between two health checks. Two failed checks make a target unhealthy.
    type: int
    default: 10
  deregistration_seconds:
    description: The time in seconds for which a deregistered target keeps its connections.
    type: int
    default: 300
  tags:
    description: The tags of the balancer and of its target groups.
    type: dict
    default: {}
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.resource
  - lowlatency.trading.common.state
"""

EXAMPLES = r"""
- name: Let clients reach the engine of partition alpha
  lowlatency.trading.network_load_balancer:
    region: us-east-1
    name: trading-demo-N-a
    scheme: internal
    subnet_ids: [subnet-0123456789abcdef0]
    security_group_ids: [sg-0123456789abcdef0]
    vpc_id: vpc-0123456789abcdef0
    listeners:
      - {port: 9001, target_group: trading-demo-O-alpha, health_path: "/health?partition=alpha"}
"""

RETURN = r"""
arn:
  description: The balancer's ARN. It is absent in check mode when the balancer does not exist yet.
  type: str
  returned: when there is a balancer
  sample: arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/trading-demo-N-a/0123456789abcdef
dns_name:
  description: The balancer's DNS name for clients. It is absent in check mode when the balancer does not exist yet.
  type: str
  returned: when there is a balancer
  sample: trading-demo-N-a-0123456789abcdef.elb.us-east-1.amazonaws.com
target_groups:
  description: The ARNs of the target groups by their names.
  type: dict
  returned: when there is a balancer
  sample: {"trading-demo-O-a": "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/trading-demo-O-a/0"}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

CROSS_ZONE = "load_balancing.cross_zone.enabled"
# DescribeTags accepts at most this many resources.
_TAGS_AT_ONCE = 20
_HEALTH = (
    "HealthCheckProtocol",
    "HealthCheckPort",
    "HealthCheckPath",
    "HealthCheckIntervalSeconds",
    "HealthyThresholdCount",
    "UnhealthyThresholdCount",
)


def plan(params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the wanted balancer with its listeners and target groups, or None when the balancer shall not exist."""
    if params["state"] == "absent":
        return None
    health = {
        "HealthCheckProtocol": params["health_protocol"],
        "HealthCheckPort": str(params["health_port"]),
        "HealthCheckIntervalSeconds": params["health_interval_seconds"],
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 2,
    }
    attributes = {
        "deregistration_delay.connection_termination.enabled": "false",
        "deregistration_delay.timeout_seconds": str(params["deregistration_seconds"]),
        "preserve_client_ip.enabled": "true",
        # A target that answers health checks too late keeps its clients' sessions.
        "target_health_state.unhealthy.connection_termination.enabled": "false",
    }
    return {
        "Scheme": params["scheme"],
        "Subnets": sorted(params["subnet_ids"]),
        "SecurityGroups": sorted(params["security_group_ids"]),
        "Attributes": {CROSS_ZONE: "false"},
        "Tags": params["tags"],
        "Listeners": {one["port"]: one["target_group"] for one in params["listeners"]},
        "TargetGroups": {
            one["target_group"]: {
                "Port": one["port"],
                **health,
                "HealthCheckPath": one["health_path"],
                "Attributes": attributes,
                "Tags": params["tags"],
            }
            for one in params["listeners"]
        },
    }


def _attributes(listed: list[dict[str, str]], wanted: dict[str, str]) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in listed if one["Key"] in wanted}


def _tags(client: Any, arns: list[str]) -> dict[str, dict[str, str]]:
    found = {}
    for start in range(0, len(arns), _TAGS_AT_ONCE):
        answer = client.describe_tags(ResourceArns=arns[start : start + _TAGS_AT_ONCE])
        found.update({one["ResourceArn"]: one["Tags"] for one in answer["TagDescriptions"]})
    return {arn: {tag["Key"]: tag["Value"] for tag in tags} for arn, tags in found.items()}


def _balancer(client: Any, name: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        return dict(client.describe_load_balancers(Names=[name])["LoadBalancers"][0])
    except ClientError as error:
        if error.response["Error"]["Code"] == "LoadBalancerNotFound":
            return None
        raise


def observe(client: Any, name: str, wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the balancer in the form of ``plan``, with the ARNs of all its parts, or None when no part exists.

    Its target groups are those of its listeners. A target group with a wanted name is included too, if an earlier run
    left it without a listener.
    """
    balancer, names = _balancer(client, name), (wanted or {}).get("TargetGroups", {})
    arn = balancer["LoadBalancerArn"] if balancer else ""
    pages = client.get_paginator("describe_target_groups").paginate()
    groups = {
        one["TargetGroupName"]: one
        for page in pages
        for one in page["TargetGroups"]
        if one["TargetGroupName"] in names or arn in one["LoadBalancerArns"]
    }
    if not balancer and not groups:
        return None
    arns = {one["TargetGroupArn"]: group for group, one in groups.items()}
    tags = _tags(client, [*([arn] if arn else []), *arns])
    found: dict[str, Any] = {"Listeners": {}, "Arns": {group: own for own, group in arns.items()}, "ListenerArns": {}}
    if balancer:
        listed = client.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
        found |= {
            "LoadBalancerArn": arn,
            "DNSName": balancer["DNSName"],
            "Scheme": balancer["Scheme"],
            "Subnets": sorted(zone["SubnetId"] for zone in balancer["AvailabilityZones"]),
            "SecurityGroups": sorted(balancer.get("SecurityGroups", [])),
            "Attributes": _attributes(listed, {CROSS_ZONE: ""}),
            "Tags": tags.get(arn, {}),
        }
        for page in client.get_paginator("describe_listeners").paginate(LoadBalancerArn=arn):
            for one in page["Listeners"]:
                found["Listeners"][one["Port"]] = arns.get(one["DefaultActions"][0]["TargetGroupArn"], "")
                found["ListenerArns"][one["Port"]] = one["ListenerArn"]
    found["TargetGroups"] = {group: _observed(client, one, names.get(group), tags) for group, one in groups.items()}
    return found


def _observed(client: Any, group: dict[str, Any], wanted: dict[str, Any] | None, tags: Any) -> dict[str, Any]:
    """Return one target group in the form of ``plan``. The attributes of a target group to delete are not read."""
    arn = group["TargetGroupArn"]
    found = {"Port": group["Port"], **{key: group.get(key) for key in _HEALTH}, "Tags": tags.get(arn, {})}
    if wanted:
        listed = client.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        found["Attributes"] = _attributes(listed, wanted["Attributes"])
    return found


def same(current: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether the balancer and all its parts are as wanted."""
    return {key: current.get(key) for key in wanted} == wanted


def unchangeable(current: dict[str, Any] | None, wanted: dict[str, Any] | None) -> list[str]:
    """Return a sentence for each change that is impossible without a new balancer or target group.

    The module fails then, because a replacement would end all sessions.
    """
    if not current or not wanted:
        return []
    found = []
    if current.get("Scheme", wanted["Scheme"]) != wanted["Scheme"]:
        found.append(f"the balancer is {current['Scheme']} and cannot become {wanted['Scheme']}")
    if current.get("LoadBalancerArn") and not current["SecurityGroups"]:
        found.append("the balancer was made without a security group and cannot get one")
    for name, group in wanted["TargetGroups"].items():
        port = current["TargetGroups"].get(name, group)["Port"]
        if port != group["Port"]:
            found.append(f"target group {name} has port {port} and cannot get {group['Port']}")
    return found


def apply(
    client: Any, name: str, vpc_id: str, current: dict[str, Any] | None, wanted: dict[str, Any] | None
) -> dict[str, Any]:
    """Bring the balancer to the wanted state; return its ARN, DNS name and target groups' ARNs, as in RETURN."""
    current = current or {"Listeners": {}, "ListenerArns": {}, "TargetGroups": {}, "Arns": {}}
    if wanted is None:
        _remove(client, current)
        return {}
    arn, dns_name = _apply_balancer(client, name, current, wanted)
    for port, listener in current["ListenerArns"].items():
        if port not in wanted["Listeners"]:
            client.delete_listener(ListenerArn=listener)
    arns = {
        group: _apply_group(client, vpc_id, group, current["Arns"].get(group), current["TargetGroups"].get(group), one)
        for group, one in wanted["TargetGroups"].items()
    }
    for port, group in wanted["Listeners"].items():
        actions = [{"Type": "forward", "TargetGroupArn": arns[group]}]
        if port not in current["Listeners"]:
            client.create_listener(LoadBalancerArn=arn, Protocol="TCP", Port=port, DefaultActions=actions)
        elif current["Listeners"][port] != group:
            client.modify_listener(ListenerArn=current["ListenerArns"][port], DefaultActions=actions)
    for group, own in current["Arns"].items():
        if group not in arns:
            client.delete_target_group(TargetGroupArn=own)
    return {"arn": arn, "dns_name": dns_name, "target_groups": arns}


def _apply_balancer(client: Any, name: str, current: dict[str, Any], wanted: dict[str, Any]) -> tuple[str, str]:
    if "LoadBalancerArn" not in current:
        made = client.create_load_balancer(
            Name=name,
            Type="network",
            Scheme=wanted["Scheme"],
            Subnets=wanted["Subnets"],
            SecurityGroups=wanted["SecurityGroups"],
            **_tagged(wanted["Tags"]),
        )["LoadBalancers"][0]
        current = {**current, "Attributes": {}, **{key: wanted[key] for key in ("Subnets", "SecurityGroups", "Tags")}}
        arn, dns_name = made["LoadBalancerArn"], made["DNSName"]
    else:
        arn, dns_name = current["LoadBalancerArn"], current["DNSName"]
    if current["Subnets"] != wanted["Subnets"]:
        client.set_subnets(LoadBalancerArn=arn, Subnets=wanted["Subnets"])
    if current["SecurityGroups"] != wanted["SecurityGroups"]:
        client.set_security_groups(LoadBalancerArn=arn, SecurityGroups=wanted["SecurityGroups"])
    if current["Attributes"] != wanted["Attributes"]:
        client.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=aws.as_tag_list(wanted["Attributes"]))
    _apply_tags(client, arn, current["Tags"], wanted["Tags"])
    return arn, dns_name


def _apply_group(
    client: Any, vpc_id: str, name: str, arn: str | None, current: dict[str, Any] | None, wanted: dict[str, Any]
) -> str:
    health = {key: wanted[key] for key in _HEALTH}
    if arn is None or current is None:
        arn = client.create_target_group(
            Name=name,
            Protocol="TCP",
            Port=wanted["Port"],
            VpcId=vpc_id,
            TargetType="instance",
            Matcher={"HttpCode": "200"},
            **health,
            **_tagged(wanted["Tags"]),
        )["TargetGroups"][0]["TargetGroupArn"]
        current = {**wanted, "Attributes": {}}
    if {key: current[key] for key in health} != health:
        client.modify_target_group(TargetGroupArn=arn, **health)
    if current["Attributes"] != wanted["Attributes"]:
        client.modify_target_group_attributes(TargetGroupArn=arn, Attributes=aws.as_tag_list(wanted["Attributes"]))
    _apply_tags(client, arn, current["Tags"], wanted["Tags"])
    return str(arn)


def _tagged(tags: dict[str, str]) -> dict[str, Any]:
    return {"Tags": aws.as_tag_list(tags)} if tags else {}


def _apply_tags(client: Any, arn: str, current: dict[str, str], wanted: dict[str, str]) -> None:
    if gone := sorted(set(current) - set(wanted)):
        client.remove_tags(ResourceArns=[arn], TagKeys=gone)
    if changed := {key: value for key, value in wanted.items() if current.get(key) != value}:
        client.add_tags(ResourceArns=[arn], Tags=aws.as_tag_list(changed))


def _remove(client: Any, current: dict[str, Any]) -> None:
    """Delete the balancer, wait until it is gone, and then delete its target groups.

    Target groups cannot be deleted before, because the balancer uses them.
    """
    if "LoadBalancerArn" in current:
        client.delete_load_balancer(LoadBalancerArn=current["LoadBalancerArn"])
        client.get_waiter("load_balancers_deleted").wait(LoadBalancerArns=[current["LoadBalancerArn"]])
    for arn in current["Arns"].values():
        client.delete_target_group(TargetGroupArn=arn)


def _known(current: dict[str, Any]) -> dict[str, Any]:
    """Return what RETURN describes, of a balancer that no call of this run has changed."""
    return {
        "arn": current.get("LoadBalancerArn"),
        "dns_name": current.get("DNSName"),
        "target_groups": current["Arns"],
    }


def main() -> None:
    """Read the balancer, and bring it to the wanted state unless the run is in check mode."""
    listener = {
        "port": {"type": "int", "required": True},
        "target_group": {"type": "str", "required": True},
        "health_path": {"type": "str", "required": True},
    }
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "scheme": {"type": "str", "choices": ["internal", "internet-facing"]},
            "subnet_ids": {"type": "list", "elements": "str"},
            "security_group_ids": {"type": "list", "elements": "str"},
            "vpc_id": {"type": "str"},
            "listeners": {"type": "list", "elements": "dict", "default": [], "options": listener},
            "health_port": {"type": "int", "default": 8000},
            "health_protocol": {"type": "str", "choices": ["HTTP", "HTTPS"], "default": "HTTP"},
            "health_interval_seconds": {"type": "int", "default": 10},
            "deregistration_seconds": {"type": "int", "default": 300},
            "tags": {"type": "dict", "default": {}},
            **aws.STATE,
        },
        required_if=[("state", "present", ["scheme", "subnet_ids", "security_group_ids", "vpc_id"])],
        supports_check_mode=True,
    )
    name, wanted = module.params["name"], plan(module.params)
    client = aws.client(module, "elbv2")

    def change(current: dict[str, Any] | None) -> dict[str, Any]:
        if refused := unchangeable(current, wanted):
            module.fail_json(msg=f"{name}: {'; '.join(refused)}. Keep it, or remove the fleet and make it anew")
        return apply(client, name, module.params["vpc_id"], current, wanted)

    done = aws.converge(
        module, f"the load balancer {name}", lambda: observe(client, name, wanted), wanted, same, change
    )
    there = _known(done.current) if done.current else {}
    facts = (done.answer or there) if wanted else {}
    before = {key: (done.current or {}).get(key) for key in wanted or {}}
    aws.report(module, done.changed, before, wanted, **facts)


if __name__ == "__main__":
    main()
