"""moto's EC2 deletes resources at once, even when other resources still use them.

This patch corrects that.
"""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance, InstanceState
from moto.ec2.models.vpcs import VPCEndPoint
from moto.ec2.utils import generic_filter

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace

# The delay of a deletion. On AWS it takes seconds to minutes: EC2 user guide, "Delete a network interface", and VPC
# user guide, "Delete your VPC".
SECONDS = 3.0


def install(hooks: Hooks) -> None:
    """Delete VPC endpoints, and the interfaces of terminated instances, with a delay.

    Until these are gone, refuse to delete the subnets, security groups, gateways and VPCs that they use.
    """
    if Instance.terminate.__module__ != __name__:
        _let_interfaces_of_a_launch_go_with_it()
        _let_interfaces_go_slowly()
        _let_endpoints_go_slowly()
        _refuse_what_is_in_use()


def _going(backend: EC2Backend) -> dict[str, tuple[NetworkInterface, float]]:
    """Return the network interfaces that are being deleted.

    The result is a dictionary: interface id → (interface, time at which it is gone).
    """
    going: dict[str, tuple[NetworkInterface, float]] = backend.__dict__.setdefault("interfaces_going", {})
    for identity in [identity for identity, (_, gone_at) in going.items() if time.monotonic() >= gone_at]:
        del going[identity]
    return going


def _in_use(backend: EC2Backend) -> Iterator[NetworkInterface]:
    for interface in list(backend.enis.values()):
        if interface.instance is None or interface.instance.state != "terminated":
            yield interface
    yield from [interface for interface, _ in _going(backend).values()]


def _let_interfaces_of_a_launch_go_with_it() -> None:
    """Delete the interfaces that a launch made, when their instance is terminated, as EC2 does.

    An interface that existed before the launch stays. If the launch sets DeleteOnTermination, that setting decides.
    Source: the EC2 user guide, "Delete a network interface".
    """
    prepare: Callable[..., None] = Instance.prep_nics

    def prep_nics(self: Instance, nic_spec: list[dict[str, Any]], *arguments: Any, **named: Any) -> None:
        asked = {int(nic["DeviceIndex"]): dict(nic) for nic in nic_spec}
        prepare(self, nic_spec, *arguments, **named)
        for index, interface in self.nics.items():
            if not {"NetworkInterfaceId", "DeleteOnTermination"} & set(asked.get(index, {})):
                interface.delete_on_termination = True

    replace(Instance, "prep_nics", prep_nics)


def _let_interfaces_go_slowly() -> None:
    terminate: Callable[[Instance], InstanceState] = Instance.terminate

    def terminate_slowly(self: Instance) -> InstanceState:
        if self.state == "terminated":  # a second termination is no error on AWS
            return copy.copy(self._state)
        had = [interface for interface in self.nics.values() if interface.id in self.ec2_backend.enis]
        before = terminate(self)
        for interface in had:
            if interface.id not in self.ec2_backend.enis:
                _going(self.ec2_backend)[interface.id] = (interface, time.monotonic() + SECONDS)
        return before

    original: Callable[..., list[NetworkInterface]] = EC2Backend.get_all_network_interfaces

    def get_all_network_interfaces(
        self: EC2Backend, eni_ids: list[str] | None = None, filters: Any = None
    ) -> list[NetworkInterface]:
        going = [interface for interface, _ in _going(self).values() if not eni_ids or interface.id in eni_ids]
        others = [identity for identity in eni_ids or [] if identity not in _going(self)]
        found = original(self, others, filters) if others or not eni_ids else []
        return found + list(generic_filter(filters, going))

    replace(Instance, "terminate", terminate_slowly)
    replace(EC2Backend, "get_all_network_interfaces", get_all_network_interfaces)


def _let_endpoints_go_slowly() -> None:
    delete: Callable[..., None] = EC2Backend.delete_vpc_endpoints
    describe: Callable[..., list[VPCEndPoint]] = EC2Backend.describe_vpc_endpoints

    def delete_vpc_endpoints(self: EC2Backend, vpce_ids: list[str] | None = None) -> None:
        delete(self, vpce_ids)
        for identity in vpce_ids or []:
            if identity in self.vpc_end_points:
                endpoint: Any = self.vpc_end_points[identity]
                endpoint.state, endpoint.gone_at = "deleting", time.monotonic() + SECONDS

    def describe_vpc_endpoints(self: EC2Backend, *arguments: Any, **named: Any) -> list[VPCEndPoint]:
        _note_deleted(self)
        return describe(self, *arguments, **named)

    replace(EC2Backend, "delete_vpc_endpoints", delete_vpc_endpoints)
    replace(EC2Backend, "describe_vpc_endpoints", describe_vpc_endpoints)


def _note_deleted(backend: EC2Backend) -> None:
    endpoints: list[Any] = list(backend.vpc_end_points.values())
    for endpoint in endpoints:
        if endpoint.state == "deleting" and time.monotonic() >= endpoint.gone_at:
            endpoint.state = "deleted"


def _refuse_what_is_in_use() -> None:
    delete_subnet: Callable[..., Any] = EC2Backend.delete_subnet
    delete_group: Callable[..., None] = EC2Backend.delete_security_group
    detach_gateway: Callable[..., None] = EC2Backend.detach_internet_gateway
    delete_vpc: Callable[..., Any] = EC2Backend.delete_vpc

    def delete_unused_subnet(self: EC2Backend, subnet_id: str) -> Any:
        if any(interface.subnet.id == subnet_id for interface in _in_use(self)):
            raise DependencyViolationError(f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
        return delete_subnet(self, subnet_id)

    def delete_unused_group(self: EC2Backend, name: str | None = None, group_id: str | None = None) -> None:
        if any(group.id == group_id for interface in _in_use(self) for group in interface.group_set):
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        delete_group(self, name, group_id)

    def detach_unused_gateway(self: EC2Backend, internet_gateway_id: str, vpc_id: str) -> None:
        if any(interface.public_ip and interface.subnet.vpc_id == vpc_id for interface in _in_use(self)):
            raise DependencyViolationError(f"Network {vpc_id} has some mapped public address(es).")
        detach_gateway(self, internet_gateway_id, vpc_id)

    def delete_unused_vpc(self: EC2Backend, vpc_id: str) -> Any:
        _note_deleted(self)
        if any(one.vpc_id == vpc_id and one.state != "deleted" for one in self.vpc_end_points.values()):
            raise DependencyViolationError(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        return delete_vpc(self, vpc_id)

    replace(EC2Backend, "delete_subnet", delete_unused_subnet)
    replace(EC2Backend, "delete_security_group", delete_unused_group)
    replace(EC2Backend, "detach_internet_gateway", detach_unused_gateway)
    replace(EC2Backend, "delete_vpc", delete_unused_vpc)
