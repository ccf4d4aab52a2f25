"""Functions that convert moto's instances and security groups into the sandbox's own classes."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, StateReason

from embedded_ec2.firewall import Balanced, Guarded, Rule
from embedded_ec2.network import Leg, Subnet
from embedded_ec2.seed import Identity

KIND_TAG = "embedded-ec2:machine"
GROUP_TAG = "aws:autoscaling:groupName"
# The login user of each publisher's images, by the beginning of an image's name.
LOGINS = {"al20": "ec2-user", "amzn": "ec2-user", "debian-": "admin", "ubuntu/": "ubuntu"}


@dataclass(frozen=True)
class Wanted:
    """The state of one instance in the API at one moment. The instance's machine is made from this state."""

    instance_id: str
    state: str
    instance_type: str
    name: str
    region: str
    vcpus: int
    memory_mib: int
    public_address: str | None
    subnet: Subnet
    mac: str
    private_address: IPv4Address
    public_key: str | None
    user_data: bytes
    tags: dict[str, str]
    login: str

    @property
    def kind(self) -> str:
        """The kind of the instance's machine. A known kind is a key of image.RECIPES."""
        return self.tags.get(KIND_TAG, "container")

    @property
    def leg(self) -> Leg:
        return Leg(self.instance_id, self.subnet, self.mac, self.private_address)

    def identity(self, endpoint: str) -> Identity:
        """Return the machine's identity for its first boot.

        Only an instance of an Auto Scaling group gets the API's address, because no user can configure such an instance
        by hand.
        """
        told = endpoint if GROUP_TAG in self.tags else ""
        return Identity(self.instance_id, self.private_address, self.public_key, self.user_data, self.login, told)


def backends() -> list[EC2Backend]:
    """Return moto's EC2 backends: one for each AWS account and region that was used."""
    return [backend for account in list(ec2_backends.values()) for backend in list(account.values())]


def moto_instances() -> list[Instance]:
    return [instance for backend in backends() for instance in backend.all_instances()]


def all_wanted() -> list[Wanted]:
    """Return the state of every instance that has not been terminated."""
    return [_wanted(instance) for instance in moto_instances() if instance.state != "terminated" and 0 in instance.nics]


def row(wanted: Wanted) -> dict[str, Any]:
    """Return the API's part of an instance's row in `scripts/sandbox status`."""
    return {
        "instance_id": wanted.instance_id,
        "name": wanted.name,
        "state": wanted.state,
        "type": wanted.instance_type,
        "region": wanted.region,
        "private_address": str(wanted.private_address),
        "public_address": wanted.public_address,
    }


def rows() -> list[dict[str, Any]]:
    """Return the rows of all instances, for an API without machines."""
    return [row(wanted) for wanted in all_wanted()]


def _wanted(instance: Instance) -> Wanted:
    nic = instance.nics[0]
    tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
    key = instance.ec2_backend.key_pairs.get(instance.key_name)
    return Wanted(
        instance_id=instance.id,
        state=instance.state,
        instance_type=instance.instance_type,
        name=tags.get("Name", ""),
        region=instance.ec2_backend.region_name,
        vcpus=vcpus_of(instance.instance_type),
        memory_mib=memory_mib_of(instance.instance_type),
        public_address=nic.public_ip,
        subnet=Subnet(nic.subnet.id, IPv4Network(nic.subnet.cidr_block)),
        mac=nic.mac_address,
        private_address=IPv4Address(str(nic.private_ip_address)),
        public_key=key.public_key.strip() if key else None,
        user_data=decode_user_data(instance.user_data),
        tags=tags,
        login=login_of(instance),
    )


def guarded(balancers: Sequence[Balanced] = ()) -> list[Guarded]:
    """Return the network links of all running instances, each with the rules of its security groups."""
    members = _members(balancers)
    return [_guarded(instance, members) for instance in _running()]


def _running() -> list[Instance]:
    return [instance for instance in moto_instances() if instance.is_running() and 0 in instance.nics]


def _members(balancers: Sequence[Balanced] = ()) -> dict[str, list[IPv4Network]]:
    """Return a dictionary: security group id → private addresses of the group's members."""
    members: dict[str, list[IPv4Network]] = {}
    for instance in _running():
        for group in instance.nics[0].group_set:
            members.setdefault(group.id, []).append(IPv4Network(str(instance.private_ip)))
    for balancer in balancers:
        for group_id in balancer.groups:
            members.setdefault(group_id, []).append(IPv4Network(balancer.address))
    return members


def rules_of(group: Any) -> tuple[Rule, ...]:
    """Return the rules for the incoming traffic that a security group allows."""
    members = _members()
    return tuple(_rule(rule, members) for rule in group.ingress_rules)


def _guarded(instance: Instance, members: dict[str, list[IPv4Network]]) -> Guarded:
    groups = sorted(instance.nics[0].group_set, key=lambda group: str(group.id))
    wanted = _wanted(instance)
    return Guarded(
        link=wanted.leg.router_link,
        private_address=wanted.private_address,
        public_address=wanted.public_address,
        ingress=tuple(_rule(rule, members) for group in groups for rule in group.ingress_rules),
        egress=tuple(_rule(rule, members) for group in groups for rule in group.egress_rules),
    )


def _rule(rule: Any, members: dict[str, list[IPv4Network]]) -> Rule:
    """Return one of moto's rules as a Rule. A group as peer is replaced by its members' private addresses."""
    peers = [IPv4Network(rule.cidr_ipv4, strict=False)] if rule.cidr_ipv4 else []
    group = rule.source_group.get("GroupId", "") if rule.source_group else ""
    return Rule(rule.ip_protocol, rule.from_port, rule.to_port, tuple(peers), tuple(members.get(group, [])), group)


def login_of(instance: Instance) -> str:
    """Return the login user of the instance's image, or an empty text for an image of an unknown publisher."""
    image = instance.ec2_backend.amis.get(instance.image_id)
    name = str(image.name or "") if image else ""
    return next((login for beginning, login in LOGINS.items() if name.startswith(beginning)), "")


def vcpus_of(instance_type: str) -> int:
    """Return the number of vCPUs of an instance type, from EC2's own table; 1 for an unknown type."""
    facts: dict[str, Any] = INSTANCE_TYPES.get(instance_type, {})
    return int(facts.get("VCpuInfo", {}).get("DefaultVCpus", 1))


def memory_mib_of(instance_type: str) -> int:
    """Return an instance type's memory in MiB from EC2's own table; 1024 for an unknown type."""
    facts: dict[str, Any] = INSTANCE_TYPES.get(instance_type, {})
    return int(facts.get("MemoryInfo", {}).get("SizeInMiB", 1024))


def decode_user_data(encoded: Base64EncodedString | None) -> bytes:
    return base64.b64decode(str(encoded)) if encoded else b""


def switch_off(instance_id: str, code: str, message: str) -> None:
    """Stop or terminate an instance in the API because its machine has ended. Set the code and message as AWS does."""
    for instance in moto_instances():
        if instance.id == instance_id and instance.is_running():
            if instance.instance_initiated_shutdown_behavior == "terminate" and code.startswith("Client."):
                instance.terminate()
            else:
                instance.stop()
            instance.state_reason = StateReason(f"{code}: {message}", code)
