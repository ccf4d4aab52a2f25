"""Where moto's EC2 differs from AWS's in a way that shows, made right.

Each correction replaces one function of moto's and says what was wrong with it.
"""

import os
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

from moto import settings
from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends, elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.responses.general import General
from moto.ec2.responses.security_groups import SecurityGroups
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import ec2_launch_options, ec2_placement_groups, ec2_subnets


def install(hooks: Hooks) -> None:
    """Correct moto in this process; once is enough, and twice does no more."""
    _be_strict()
    _hand_out_own_public_addresses(hooks.public_addresses)
    _report_real_consoles(hooks)
    _reboot_machines(hooks)
    _start_machines(hooks)
    _confirm_rule_descriptions()
    _replace_groups()
    _report_new_volumes_in_full()
    _know_elastic_addresses_tags()
    ec2_placement_groups.install()
    ec2_launch_options.install()
    ec2_subnets.install()


def replace(owner: object, name: str, value: object) -> None:
    """Put our function in the place of moto's; a name that moto no longer has is a mistake to hear of at once."""
    getattr(owner, name)
    setattr(owner, name, value)


def backends() -> list[EC2Backend]:
    """Return the EC2 of every account and region that has been used."""
    return [backend for account in list(ec2_backends.values()) for backend in list(account.values())]


def _be_strict() -> None:
    """moto lets unknown images, key pairs and instance types pass, and has none of AWS's managed policies."""
    settings.ENABLE_AMI_VALIDATION = True
    settings.ENABLE_KEYPAIR_VALIDATION = True
    settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"


def _public_addresses_in_use() -> set[str]:
    used: set[str] = set()
    for backend in backends():
        used.update(eni.public_ip for eni in list(backend.enis.values()) if eni.public_ip)
        used.update(address.public_ip for address in list(backend.addresses))
    return used


def _hand_out_own_public_addresses(public_addresses: IPv4Network) -> None:
    """moto invents addresses that belong to strangers (54.214.…), or loopback ones for Elastic IPs."""

    def next_free() -> str:
        used = _public_addresses_in_use()
        for address in public_addresses.hosts():
            if str(address) not in used:
                return str(address)
        raise EC2ClientError("AddressLimitExceeded", f"All of {public_addresses} is in use; release an address first.")

    replace(elastic_network_interfaces, "random_public_ip", next_free)
    replace(elastic_ip_addresses, "random_ip", next_free)


def _report_real_consoles(hooks: Hooks) -> None:
    """moto returns the same text, of a Linux 2.6, for every instance."""

    def get_console_output(self: General) -> ActionResult:
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        output = hooks.machines.console_output(instance.id)
        return ActionResult(
            {
                "InstanceId": instance.id,
                "Timestamp": utcnow(),
                # AWS keeps the last 64 KiB.
                "Output": Base64EncodedString.from_raw_string(output[-65536:]),
            }
        )

    replace(General, "get_console_output", get_console_output)


def _reboot_machines(hooks: Hooks) -> None:
    """moto's reboot changes nothing that anybody could see."""
    original: Callable[..., Any] = EC2Backend.reboot_instances

    def reboot_instances(self: EC2Backend, instance_ids: list[str]) -> Any:
        rebooted = original(self, instance_ids)
        for instance in rebooted:
            hooks.machines.request_reboot(instance.id)
        return rebooted

    replace(EC2Backend, "reboot_instances", reboot_instances)


def _start_machines(hooks: Hooks) -> None:
    """An answer that says `running` comes when the machine has been started, not before.

    A subnet whose addresses this machine uses for something else can hold no machine: that is said before there is one.
    """
    run: Callable[..., Any] = EC2Backend.run_instances
    start: Callable[..., Any] = EC2Backend.start_instances

    def run_instances(self: EC2Backend, *args: Any, **kwargs: Any) -> Any:
        subnet_ids = [kwargs.get("subnet_id"), *(nic.get("SubnetId") for nic in kwargs.get("nics") or [])]
        for subnet_id in filter(None, subnet_ids):
            reason = hooks.machines.refusal(IPv4Network(self.get_subnet(subnet_id).cidr_block))
            if reason:
                raise EC2ClientError("Unsupported", f"{subnet_id} cannot have machines here: {reason}")
        reservation = run(self, *args, **kwargs)
        hooks.machines.settle()
        return reservation

    def start_instances(self: EC2Backend, *args: Any, **kwargs: Any) -> Any:
        started = start(self, *args, **kwargs)
        hooks.machines.settle()
        return started

    replace(EC2Backend, "run_instances", run_instances)
    replace(EC2Backend, "start_instances", start_instances)


def _confirm_rule_descriptions() -> None:
    """moto leaves `Return` out of these two answers, and amazon.aws.ec2_security_group reads it."""
    for direction in ("ingress", "egress"):
        name = f"update_security_group_rule_descriptions_{direction}"

        def update(self: SecurityGroups, name: str = name) -> ActionResult:
            for arguments in self._process_rules_from_querystring():
                del arguments["sgrule_tags"]
                getattr(self.ec2_backend, name)(**arguments)
            return ActionResult({"Return": True})

        replace(SecurityGroups, name, update)


def _replace_groups() -> None:
    """moto adds an instance's groups to its interface's; on AWS they are one set, and are replaced."""
    modify_interface: Callable[..., None] = EC2Backend.modify_network_interface_attribute
    modify_instance: Callable[..., Any] = EC2Backend.modify_instance_security_groups

    def groups_of_interface(self: NetworkInterface) -> Any:
        return self._group_set

    def modify_network_interface_attribute(self: EC2Backend, eni_id: str, *args: Any, **kwargs: Any) -> None:
        modify_interface(self, eni_id, *args, **kwargs)
        interface = self.get_network_interface(eni_id)
        if interface.instance and interface.device_index == 0:
            interface.instance.security_groups = interface._group_set

    def modify_instance_security_groups(self: EC2Backend, *args: Any, **kwargs: Any) -> Any:
        instance = modify_instance(self, *args, **kwargs)
        instance.nics[0]._group_set = instance.security_groups
        return instance

    replace(NetworkInterface, "group_set", property(groups_of_interface))
    replace(EC2Backend, "modify_network_interface_attribute", modify_network_interface_attribute)
    replace(EC2Backend, "modify_instance_security_groups", modify_instance_security_groups)


def _report_new_volumes_in_full() -> None:
    """AWS reports an empty SnapshotId and MultiAttachEnabled; amazon.aws's modules read them, moto leaves them out."""
    create: Callable[..., Any] = EC2Backend.create_volume

    def create_volume(self: EC2Backend, *args: Any, **kwargs: Any) -> Any:
        volume = create(self, *args, **kwargs)
        volume.snapshot_id = volume.snapshot_id or ""
        volume.multi_attach_enabled = bool(volume.multi_attach_enabled)
        return volume

    replace(EC2Backend, "create_volume", create_volume)


def _know_elastic_addresses_tags() -> None:
    """DescribeTags calls the resource type `elastic-ip`; moto has another name for it and finds no tags by AWS's."""
    EC2_PREFIX_TO_RESOURCE["eipalloc"] = "elastic-ip"
