"""moto's Network Load Balancers have no address, and report every registered target as healthy.

This patch corrects that.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moto.elbv2 import models
from moto.elbv2.exceptions import InvalidTargetError, ValidationError
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeLoadBalancer, FakeTargetGroup
from moto.elbv2.utils import make_arn_for_load_balancer

from embedded_ec2 import groups
from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace

if TYPE_CHECKING:
    from embedded_ec2.balancing import Balancers

_NETWORK = ("TCP", "TLS", "UDP", "TCP_UDP")
# The limits of health checks: API reference, "CreateTargetGroup". Times are in seconds.
_RANGES = {
    "health_check_interval_seconds": (5, 300),
    "health_check_timeout_seconds": (2, 120),
    "healthy_threshold_count": (2, 10),
    "unhealthy_threshold_count": (2, 10),
}
_hooks = Hooks()


def install(hooks: Hooks) -> None:
    """Give balancers addresses. If the sandbox has machines, report the health of targets that HAProxy finds."""
    global _hooks
    _hooks = hooks
    hooks.watcher.targets = groups.Targets(_state, _is_draining)
    if FakeTargetGroup.health_for.__module__ == __name__:
        return
    _name_by_type()
    _give_addresses()
    _refuse_other_checks()
    _register()
    _tell_health()


def _keeper(group: FakeTargetGroup) -> "Balancers | None":
    """Return the object that runs the target group's balancer, or None when the group has no network balancer."""
    return _hooks.machines.balancers() if group.protocol in _NETWORK and group.load_balancer_arns else None


def _state(group: FakeTargetGroup, instance_id: str) -> str:
    keeper = _keeper(group) if instance_id in group.targets else None
    return keeper.health(group, instance_id)[0] if keeper else "healthy"


def _is_draining(group: FakeTargetGroup, instance_id: str) -> bool:
    return instance_id in group.__dict__.get("draining", {})


def _name_by_type() -> None:
    """Name a network balancer `net/…`, also in the dimension of an alarm. moto names every balancer `app/…`."""
    make_arn, create = make_arn_for_load_balancer, ELBv2Backend.create_load_balancer
    asked = threading.local()

    def arn_by_type(**kwargs: Any) -> str:
        arn = str(make_arn(**kwargs))
        return arn.replace(":loadbalancer/app/", ":loadbalancer/net/") if asked.network else arn

    def create_load_balancer(self: ELBv2Backend, *args: Any, **kwargs: Any) -> FakeLoadBalancer:
        asked.network = kwargs.get("loadbalancer_type") == "network"
        return create(self, *args, **kwargs)

    replace(models, "make_arn_for_load_balancer", arn_by_type)
    replace(ELBv2Backend, "create_load_balancer", create_load_balancer)


def _give_addresses() -> None:
    """Give a balancer one interface with an address, which is also its DNS name.

    The interface is in the balancer's first subnet. AWS makes one interface in each subnet.
    """
    create: Callable[..., FakeLoadBalancer] = ELBv2Backend.create_load_balancer
    delete: Callable[..., None] = ELBv2Backend.delete_load_balancer

    def create_load_balancer(self: ELBv2Backend, *args: Any, **kwargs: Any) -> FakeLoadBalancer:
        keeper = _hooks.machines.balancers() if kwargs.get("loadbalancer_type") == "network" else None
        reason = keeper.refusal() if keeper else None
        if reason:
            raise ValidationError(f"A network load balancer cannot be made: {reason}")
        balancer = create(self, *args, **kwargs)
        if keeper:
            from embedded_ec2.balancing import Address

            subnet: Any = balancer.subnets[0]
            address = subnet.get_available_subnet_ip(balancer)
            interface = self.ec2_backend.create_network_interface(
                subnet,
                address,
                group_ids=list(balancer.security_groups or []),
                description=f"ELB net/{balancer.name}/{balancer.arn.rpartition('/')[2]}",
            )
            balancer.__dict__["sandbox_address"] = Address(interface.id, address)
            balancer.dns_name = address
            _hooks.machines.settle()
        return balancer

    def delete_load_balancer(self: ELBv2Backend, arn: str) -> None:
        balancer: Any = self.load_balancers.get(arn)
        delete(self, arn)
        address = balancer.__dict__.get("sandbox_address") if balancer else None
        if address:
            self.ec2_backend.delete_network_interface(address.interface_id)
            balancer.subnets[0].del_subnet_ip(address.address)
            _hooks.machines.settle()

    replace(ELBv2Backend, "create_load_balancer", create_load_balancer)
    replace(ELBv2Backend, "delete_load_balancer", delete_load_balancer)


def _refuse_other_checks() -> None:
    """Refuse health checks whose intervals or thresholds are outside AWS's limits. moto accepts any values."""
    create: Callable[..., FakeTargetGroup] = ELBv2Backend.create_target_group
    modify: Callable[..., FakeTargetGroup] = ELBv2Backend.modify_target_group

    def create_target_group(self: ELBv2Backend, name: str, **kwargs: Any) -> FakeTargetGroup:
        group = create(self, name, **kwargs)
        try:
            _require_check(group)
        except ValidationError:
            del self.target_groups[group.arn]
            raise
        return group

    def modify_target_group(self: ELBv2Backend, arn: str, *args: Any, **kwargs: Any) -> FakeTargetGroup:
        group = self.target_groups.get(arn)
        before = dict(group.__dict__) if group else {}
        changed = modify(self, arn, *args, **kwargs)
        try:
            _require_check(changed)
        except ValidationError:
            changed.__dict__.update(before)
            raise
        return changed

    replace(ELBv2Backend, "create_target_group", create_target_group)
    replace(ELBv2Backend, "modify_target_group", modify_target_group)


def _require_check(group: FakeTargetGroup) -> None:
    for name, (least, most) in _RANGES.items():
        value = int(getattr(group, name))
        if group.protocol in _NETWORK and not least <= value <= most:
            raise ValidationError(f"{name.replace('_', ' ')} '{value}' must be between {least} and {most}")


def _register() -> None:
    """Let deregistered targets drain, as AWS does ("Deregistration delay"). moto removes them at once."""
    register: Callable[..., None] = FakeTargetGroup.register

    def register_anew(self: FakeTargetGroup, targets: list[dict[str, Any]]) -> None:
        new = [str(target["Id"]) for target in targets if target["Id"] not in self.targets]
        register(self, targets)
        keeper = _keeper(self) if new else None
        for name in new:
            self.__dict__.setdefault("registered_at", {})[name] = time.monotonic()
            self.__dict__.get("draining", {}).pop(name, None)
            if keeper:
                keeper.forget(self, name)

    def deregister(self: FakeTargetGroup, targets: list[dict[str, Any]]) -> None:
        for target in targets:
            name = str(target["Id"])
            if name not in self.targets:
                raise InvalidTargetError()
            found = self.targets.pop(name)
            self.deregistered_targets[name] = found
            if _keeper(self):
                from embedded_ec2.balancing import Draining

                delay_s = float(str(self.attributes["deregistration_delay.timeout_seconds"]))
                self.__dict__.setdefault("draining", {})[name] = Draining(found, time.monotonic() + delay_s)

    replace(FakeTargetGroup, "register", register_anew)
    replace(FakeTargetGroup, "deregister", deregister)


def _tell_health() -> None:
    describe: Callable[..., list[FakeHealthStatus]] = ELBv2Backend.describe_target_health
    health: Callable[..., FakeHealthStatus] = FakeTargetGroup.health_for

    def describe_target_health(
        self: ELBv2Backend, target_group_arn: str, targets: list[dict[str, Any]]
    ) -> list[FakeHealthStatus]:
        group = self.target_groups.get(target_group_arn)
        leaving = [each.target for each in group.__dict__.get("draining", {}).values()] if group else []
        if group and leaving and not targets:
            targets = [*group.targets.values(), *leaving]
        return describe(self, target_group_arn, targets)

    def health_for(self: FakeTargetGroup, target: dict[str, Any], ec2_backend: Any) -> FakeHealthStatus:
        known = target["Id"] in self.targets or _is_draining(self, target["Id"])
        keeper = _keeper(self) if known else None
        if keeper is None:
            return health(self, target, ec2_backend)
        from embedded_ec2.balancing import words_for

        state, reason = keeper.health(self, target["Id"])
        port = (self.targets.get(target["Id"]) or target).get("Port", self.port)
        check_port = str(self.health_check_port)
        shown = str(port) if check_port == "traffic-port" else check_port
        return FakeHealthStatus(target["Id"], port, shown, state, reason, words_for(reason))

    replace(ELBv2Backend, "describe_target_health", describe_target_health)
    replace(FakeTargetGroup, "health_for", health_for)
