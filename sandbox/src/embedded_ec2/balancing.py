"""Functions that let HAProxy act as the API's Network Load Balancers, and report the health that HAProxy finds.

The keeper, which keeps a machine for each instance, also makes HAProxy match the API's state. It does this in its own
thread. The API's threads read the health of targets. This module is imported only when the first balancer is created.
"""

import functools
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from moto.ec2.models import EC2Backend
from moto.elbv2.models import ELBv2Backend, FakeListener, FakeLoadBalancer, FakeTargetGroup, elbv2_backends

from embedded_ec2.firewall import Balanced
from embedded_ec2.haproxy import Check, FrontEnd, HAProxy, Pool, Seen, Server
from embedded_ec2.instances import rules_of
from embedded_ec2.network import Router, Subnet

# AWS's reasons for a target's state, each with AWS's description (API reference, "TargetHealth").
_REASONS = {
    "Elb.InitialHealthChecking": "Initial health checks in progress",
    "Target.FailedHealthChecks": "Health checks failed",
    "Target.DeregistrationInProgress": "Target deregistration is in progress",
    "Target.NotInUse": "Target group is not configured to receive traffic from the load balancer",
    "Target.InvalidState": "Target is in the stopped state",
    "Target.HealthCheckDisabled": "Health checks are disabled for the target group",
    "Target.NotRegistered": "Target is not registered to the target group",
    "Elb.InternalError": "The load balancer does not answer",
}
State = tuple[str, str | None]


@dataclass(frozen=True)
class Address:
    """A balancer's address, and the id of its network interface in the API."""

    interface_id: str
    address: str


@dataclass
class Draining:
    """A deregistered target. It gets no new sessions, and is removed after its last session or at the time `ends`."""

    target: dict[str, Any]
    ends: float


def address_of(balancer: FakeLoadBalancer) -> Address | None:
    found: Address | None = balancer.__dict__.get("sandbox_address")
    return found


def draining(group: FakeTargetGroup) -> dict[str, Draining]:
    found: dict[str, Draining] = group.__dict__.setdefault("draining", {})
    return found


def _is_draining(group: FakeTargetGroup | None, name: str) -> bool:
    return group is not None and name in draining(group)


def registered_at(group: FakeTargetGroup) -> dict[str, float]:
    found: dict[str, float] = group.__dict__.setdefault("registered_at", {})
    return found


def _backends() -> list[ELBv2Backend]:
    return [backend for account in list(elbv2_backends.values()) for backend in list(account.values())]


def _balancers() -> Iterator[tuple[FakeLoadBalancer, Address]]:
    for backend in _backends():
        for balancer in list(backend.load_balancers.values()):
            address = address_of(balancer)
            if address:
                yield balancer, address


def _listeners() -> Iterator[tuple[FakeLoadBalancer, Address, FakeListener, FakeTargetGroup]]:
    """Yield (balancer, address, listener, target group) for each TCP listener that forwards to a target group."""
    for balancer, address in _balancers():
        for listener in list(balancer.listeners.values()):
            arn = _forwards_to(listener)
            groups = [backend.target_groups[arn] for backend in _backends() if arn in backend.target_groups]
            if groups and listener.protocol == "TCP":
                yield balancer, address, listener, groups[0]


def _forwards_to(listener: FakeListener) -> str:
    for action in listener.default_actions:
        if action.type == "forward":
            groups = action.data.get("ForwardConfig", {}).get("TargetGroups", [])
            return str(action.data.get("TargetGroupArn") or (groups[0]["TargetGroupArn"] if groups else ""))
    return ""


def subnet_of(balancer: FakeLoadBalancer) -> Subnet:
    """Return the first of the balancer's subnets. The balancer's address is in this subnet."""
    return Subnet(balancer.subnets[0].id, IPv4Network(balancer.subnets[0].cidr_block))


def _is_on(group: FakeTargetGroup, attribute: str, usual: bool) -> bool:
    return str(group.attributes.get(attribute, usual)).lower() == "true"


def _pool(group: FakeTargetGroup, source: str, keeps_clients: bool) -> Pool:
    servers = [server for target in list(group.targets.values()) if (server := _server(group, target))]
    check = None
    if group.health_check_enabled:
        port = str(group.health_check_port or "traffic-port")
        check = Check(
            protocol=str(group.health_check_protocol),
            port=int(port) if port.isdigit() else None,
            path=group.health_check_path or "/",
            codes=str((getattr(group, "matcher", None) or {}).get("HttpCode", "200-399")),
            interval_s=int(group.health_check_interval_seconds),
            timeout_s=int(group.health_check_timeout_seconds),
            rise=int(group.healthy_threshold_count),
            fall=int(group.unhealthy_threshold_count),
        )
    preserves = _is_on(group, "preserve_client_ip.enabled", usual=group.target_type == "instance")
    return Pool(
        name=group.name,
        servers=tuple(sorted(servers, key=lambda server: server.name)),
        check=check,
        source=source,
        keeps_client=preserves and keeps_clients,
        proxy_protocol=_is_on(group, "proxy_protocol_v2.enabled", usual=False),
        sticky=_is_on(group, "stickiness.enabled", usual=False),
    )


def _server(group: FakeTargetGroup, target: dict[str, Any]) -> Server | None:
    """Return a target in the form of HAProxy's servers, or None for an instance that does not run."""
    name = str(target["Id"])
    if name.startswith("i-"):
        instance = group.ec2_backend.get_instance_by_id(name)
        if instance is None or not instance.is_running():
            return None
        return Server(name, str(instance.private_ip), int(target["Port"]))
    return Server(name, name, int(target["Port"]))


class Balancers:
    """All load balancers of a sandbox."""

    def __init__(self, router: Router, haproxy: HAProxy) -> None:
        self._router = router
        self._haproxy = haproxy
        self._held: set[str] = set()
        self._was_up: set[tuple[str, str]] = set()
        self._served: set[tuple[str, str]] = set()
        self._up: set[tuple[str, str]] = set()
        self._last_seen: dict[tuple[str, str], Seen] = {}
        self._lock = threading.Lock()

    # The following methods are called by the keeper's thread.

    @functools.cached_property
    def _keeps_clients(self) -> bool:
        """Whether targets can see their clients' addresses, which depends on this computer's kernel."""
        return self._router.bring_replies_back()

    @property
    def subnets(self) -> frozenset[str]:
        """The ids of the subnets with a balancer's address. This computer's links to them must not be removed."""
        return frozenset(subnet_of(balancer).id for balancer, _ in _balancers())

    def guarded(self) -> list[Balanced]:
        """Return each balancer with the rules of its security groups. A balancer without groups accepts all packets."""
        found = []
        for balancer, address in _balancers():
            ec2: EC2Backend = balancer.subnets[0].ec2_backend
            groups = [ec2.get_security_group_from_id(each) for each in balancer.security_groups or []]
            rules = tuple(rule for group in groups if group for rule in rules_of(group)) if groups else None
            own = frozenset(balancer.security_groups or [])
            found.append(Balanced(address.address, own, rules, self._keeps_clients))
        return found

    def compare(self) -> None:
        """Change HAProxy to match the API's state, and also the router's addresses on which HAProxy listens."""
        balancers = list(_balancers())
        wanted = {address.address for _, address in balancers}
        for balancer, address in balancers:
            if address.address not in self._held:
                self._router.connect(subnet_of(balancer))
                self._router.hold(address.address)
                self._held.add(address.address)
        front_ends, pools = self._wanted()
        if front_ends:
            self._haproxy.apply(front_ends, pools)
            self._cut_the_lost({(pool.name, server.name) for pool in pools for server in pool.servers})
            self._end_draining()
        elif self._haproxy.is_running:
            self._haproxy.stop()
        for gone in self._held - wanted:
            self._router.release(gone)
        self._held &= wanted

    def _wanted(self) -> tuple[list[FrontEnd], list[Pool]]:
        front_ends: list[FrontEnd] = []
        pools: dict[str, Pool] = {}
        for _, address, listener, group in _listeners():
            idle_s = int(listener.attributes.get("tcp.idle_timeout.seconds", 350))
            name = f"listener-{listener.arn.rpartition('/')[2]}"
            front_ends.append(FrontEnd(name, address.address, int(listener.port), group.name, idle_s))
            pools.setdefault(group.name, _pool(group, address.address, self._keeps_clients))
        return front_ends, list(pools.values())

    def _seen(self) -> dict[tuple[str, str], Seen]:
        """Return HAProxy's present results of health checks, or its last results while HAProxy does not answer.

        During a reload HAProxy does not answer. That must not make a target unhealthy.
        """
        with suppress(OSError, ValueError):
            self._last_seen = self._haproxy.servers()
        return self._last_seen

    def _cut_the_lost(self, served: set[tuple[str, str]]) -> None:
        """End the sessions of targets that no longer exist or have become unhealthy.

        AWS does the same ("Connection termination for unhealthy targets"). HAProxy itself would end only the sessions
        of its newest worker process.
        """
        up = {each for each, seen in self._seen().items() if seen.is_up}
        with self._lock:
            self._was_up |= up
        groups = {group.name: group for *_, group in _listeners()}
        lost = {each for each in self._served - served if not _is_draining(groups.get(each[0]), each[1])}
        lost |= {
            (name, server)
            for name, server in (self._up & served) - up
            if _is_on(groups[name], "target_health_state.unhealthy.connection_termination.enabled", usual=True)
        }
        for name, server in sorted(lost):
            self._haproxy.cut(name, server)
        self._served, self._up = served, up

    def _end_draining(self) -> None:
        for backend in _backends():
            for group in list(backend.target_groups.values()):
                for name, leaving in list(draining(group).items()):
                    is_gone = _server(group, leaving.target) is None
                    is_over = time.monotonic() >= leaving.ends
                    if not is_gone and not is_over and self._haproxy.sessions(group.name, name):
                        continue
                    cuts = _is_on(group, "deregistration_delay.connection_termination.enabled", usual=False)
                    if is_gone or (is_over and cuts):
                        self._haproxy.cut(group.name, name)
                    draining(group).pop(name, None)

    # The following methods may be called by any thread.

    def refusal(self) -> str | None:
        """Return why no balancer can be made on this computer, or None if one can."""
        return None if shutil.which("haproxy") else "haproxy, which stands for it here, is missing: apt-get install it"

    def health(self, group: FakeTargetGroup, name: str) -> State:
        """Return a target's state as in the API, such as "healthy", and the reason, if the state has one."""
        if name in draining(group):
            return "draining", "Target.DeregistrationInProgress"
        target = group.targets.get(name)
        if target is None:
            return "unused", "Target.NotRegistered"
        if all(found is not group for *_, found in _listeners()):
            return "unused", "Target.NotInUse"
        if _server(group, target) is None:
            return "unused", "Target.InvalidState"
        if not group.health_check_enabled:
            return "unavailable", "Target.HealthCheckDisabled"
        seen = self._seen().get((group.name, name))
        with self._lock:
            if seen and seen.is_up:
                self._was_up.add((group.name, name))
                return "healthy", None
            was_up = (group.name, name) in self._was_up
        # A target that was never healthy counts as new until enough checks could have failed to make it unhealthy.
        checks_s = int(group.unhealthy_threshold_count) * int(group.health_check_interval_seconds)
        age_s = time.monotonic() - registered_at(group).get(name, 0.0)
        if not was_up and age_s < checks_s + int(group.health_check_timeout_seconds):
            return "initial", "Elb.InitialHealthChecking"
        return ("unhealthy", "Target.FailedHealthChecks") if seen else ("unavailable", "Elb.InternalError")

    def forget(self, group: FakeTargetGroup, name: str) -> None:
        """Forget that the target was healthy. It was registered again and must pass the health checks again."""
        with self._lock:
            self._was_up.discard((group.name, name))


def words_for(reason: str | None) -> str | None:
    return _REASONS.get(reason or "")
