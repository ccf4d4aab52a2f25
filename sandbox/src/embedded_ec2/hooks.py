"""The interface by which the API uses machines. The API can run with machines or without them."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Protocol

from embedded_ec2.groups import Watcher
from embedded_ec2.network import public_slot

if TYPE_CHECKING:
    from embedded_ec2.balancing import Balancers


class Machines(Protocol):
    """The functions of the keeper that the API may call. Threads that answer requests call them.

    Only `settle` waits; all others return at once.
    """

    def refusal(self, cidr: IPv4Network) -> str | None:
        """Return why the sandbox's machines cannot have addresses of this subnet, or None if they can."""

    def request_reboot(self, instance_id: str) -> None:
        """Request a reboot of the instance's machine."""

    def console_output(self, instance_id: str) -> str:
        """Return the console output of the instance's machine."""

    def look_again(self) -> None:
        """Request a comparison of the API's instances with the machines. Return at once; it happens soon."""

    def settle(self) -> None:
        """Compare the API's instances with the machines, and wait until that is done, or until the time limit."""

    def balancers(self) -> "Balancers | None":
        """Return the object that runs load balancers, or None when the sandbox has no machines.

        The first call creates the object.
        """


class NoMachines:
    """The replacement for machines in an API without machines: instances exist only as entries in its tables."""

    def refusal(self, cidr: IPv4Network) -> str | None:
        return None

    def request_reboot(self, instance_id: str) -> None:
        pass

    def console_output(self, instance_id: str) -> str:
        return ""

    def look_again(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def balancers(self) -> "Balancers | None":
        return None


@dataclass
class Hooks:
    """The objects by which the patched API affects the rest of the sandbox: machines, groups and public addresses."""

    machines: Machines = field(default_factory=NoMachines)
    watcher: Watcher = field(default_factory=Watcher)
    public_addresses: IPv4Network = field(default_factory=lambda: public_slot(0))
