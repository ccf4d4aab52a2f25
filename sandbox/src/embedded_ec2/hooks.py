"""What the API asks of the machines, so that it can run with machines, or alone."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Protocol

from embedded_ec2.groups import Watcher
from embedded_ec2.network import public_slot

if TYPE_CHECKING:
    from embedded_ec2.balancing import Balancers


class Machines(Protocol):
    """The keeper's side of the API; every call comes from a request's thread and returns at once."""

    def refusal(self, cidr: IPv4Network) -> str | None:
        """Return why no machine can be given an address of this subnet here, or None."""

    def request_reboot(self, instance_id: str) -> None:
        """Have the instance's machine rebooted."""

    def console_output(self, instance_id: str) -> str:
        """Return what the instance's machine has written to its console."""

    def look_again(self) -> None:
        """Compare the API's instances with the machines soon."""

    def settle(self) -> None:
        """Compare them now, and return when every machine to be started has been; within a limit."""

    def balancers(self) -> "Balancers | None":
        """Return what keeps load balancers, from the first call on; None where there are no machines."""


class NoMachines:
    """The API alone: instances are entries in its tables and nothing else."""

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
    """Everything the corrected API needs from outside of itself."""

    machines: Machines = field(default_factory=NoMachines)
    watcher: Watcher = field(default_factory=Watcher)
    public_addresses: IPv4Network = field(default_factory=lambda: public_slot(0))
