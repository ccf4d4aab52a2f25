"""When moto deletes a stack, it leaves some resources, and does not wait for resources that disappear slowly.

This patch corrects that.
"""

import time
from collections.abc import Callable
from typing import Any

from moto.cloudformation.parsing import ResourceMap
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace

# AWS tries for longer. Here a slow deletion takes only some seconds.
LIMIT_S = 60.0
_LOOK_EACH_S = 0.2


def install(hooks: Hooks) -> None:
    """Delete the resources of a stack in repeated passes, until none is left or the time limit has passed.

    AWS also deletes a resource after those that use it (user guide, "Delete a stack").
    """
    replace(ResourceMap, "delete", _delete)


def _delete(self: ResourceMap) -> None:
    remaining = [name for name, one in self._resource_json_map.items() if one.get("DeletionPolicy") != "Retain"]
    deadline = time.monotonic() + LIMIT_S
    while remaining:
        for name in list(reversed(remaining)):
            try:
                _delete_one(self, name)
            except Exception:  # another resource uses it and must be deleted first
                if time.monotonic() >= deadline:
                    raise
            else:
                remaining.remove(name)
        if remaining:
            time.sleep(_LOOK_EACH_S)


def _delete_one(stack: ResourceMap, name: str) -> None:
    resource: Any = stack._parsed_resources.get(name)
    if resource is None or isinstance(resource, str):
        return
    ours = _UNKNOWN_TO_MOTO.get(stack._resource_json_map[name]["Type"])
    if ours:
        ours(ec2_backends[stack._account_id][stack._region_name], resource)
    else:
        stack._delete_resource(resource, stack._resource_json_map[name])
    stack._parsed_resources.pop(name)


def _delete_endpoint(ec2: Any, endpoint: Any) -> None:
    if ec2.vpc_end_points[endpoint.id].state == "available":
        ec2.delete_vpc_endpoints([endpoint.id])
    ec2.describe_vpc_endpoints(None)  # notes the end of those that are on their way
    if ec2.vpc_end_points[endpoint.id].state != "deleted":
        raise RuntimeError(f"{endpoint.id} is on its way")


def _delete_gateway(ec2: Any, gateway: Any) -> None:
    if gateway.vpc:
        ec2.detach_internet_gateway(gateway.id, gateway.vpc.id)
    ec2.delete_internet_gateway(gateway.id)


def _delete_policy(ec2: Any, policy: Any) -> None:
    iam = iam_backends[ec2.account_id]["aws"]
    for role in list(iam.roles.values()):
        if policy.arn in role.managed_policies:
            iam.detach_role_policy(policy.arn, role.name)
    iam.delete_policy(policy.arn)


_UNKNOWN_TO_MOTO: dict[str, Callable[[Any, Any], None]] = {
    "AWS::EC2::VPCEndpoint": _delete_endpoint,
    "AWS::EC2::RouteTable": lambda ec2, table: ec2.delete_route_table(table.id),
    "AWS::EC2::InternetGateway": _delete_gateway,
    "AWS::IAM::ManagedPolicy": _delete_policy,
}
