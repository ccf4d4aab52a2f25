"""moto's EC2 assigns public addresses that belong to hosts of other people, and loses Elastic IPs and their tags.

This patch corrects that.
"""

from collections.abc import Callable
from ipaddress import IPv4Network

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.models.instances import Instance, InstanceState
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE

from embedded_ec2.hooks import Hooks
from embedded_ec2.instances import backends
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Assign addresses of the sandbox's own network, and use AWS's resource type for Elastic IPs."""
    _hand_out_own_public_addresses(hooks.public_addresses)
    _know_elastic_addresses_tags()
    _keep_elastic_addresses_over_a_stop()
    _free_elastic_addresses_at_the_end()


def _public_addresses_in_use() -> set[str]:
    used: set[str] = set()
    for backend in backends():
        used.update(eni.public_ip for eni in list(backend.enis.values()) if eni.public_ip)
        used.update(address.public_ip for address in list(backend.addresses))
    return used


def _hand_out_own_public_addresses(public_addresses: IPv4Network) -> None:
    """Assign public addresses of the sandbox's own range to instances.

    moto invents addresses, which may belong to other people's hosts or to loopback.
    """

    def next_free() -> str:
        used = _public_addresses_in_use()
        for address in public_addresses.hosts():
            if str(address) not in used:
                return str(address)
        raise EC2ClientError("AddressLimitExceeded", f"All of {public_addresses} is in use; release an address first.")

    replace(elastic_network_interfaces, "random_public_ip", next_free)
    replace(elastic_ip_addresses, "random_ip", next_free)


def _know_elastic_addresses_tags() -> None:
    """Find tags of Elastic IPs by the resource type `elastic-ip`, as AWS names it. moto uses another name."""
    EC2_PREFIX_TO_RESOURCE["eipalloc"] = "elastic-ip"


def _keep_elastic_addresses_over_a_stop() -> None:
    """Keep a stopped instance's Elastic IP (EC2 user guide, "Elastic IP addresses"). moto replaces it.

    An address that EC2 itself assigned is released at the stop, which moto does correctly.
    """
    for name in ("stop", "start"):
        original: Callable[[Instance], InstanceState] = getattr(Instance, name)

        def keep(self: Instance, original: Callable[[Instance], InstanceState] = original) -> InstanceState:
            mine = [one for one in self.ec2_backend.addresses if one.eni and one.eni in self.nics.values()]
            before = original(self)
            for address in mine:
                address.eni.public_ip = address.public_ip
            return before

        replace(Instance, name, keep)


def _free_elastic_addresses_at_the_end() -> None:
    """Disassociate the Elastic IP of an instance that is terminated. moto leaves it associated."""
    if Instance.terminate.__module__.startswith("embedded_ec2"):  # this patch was already installed
        return
    original: Callable[[Instance], InstanceState] = Instance.terminate

    def free(self: Instance) -> InstanceState:
        mine = [one for one in self.ec2_backend.addresses if one.eni and one.eni in self.nics.values()]
        before = original(self)
        for address in mine:
            address.eni = address.instance = address.association_id = None
        return before

    replace(Instance, "terminate", free)
