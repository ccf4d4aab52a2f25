"""moto reports a subnet's IPv6 networks in another form than AWS, and cannot find subnets by them.

This patch corrects that.
"""

from collections.abc import Callable
from typing import Any

from moto.ec2.models.subnets import Subnet

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Report a subnet's IPv6 networks in the API's form, and find subnets by their IPv6 networks."""
    original: Callable[..., Any] = Subnet.get_filter_value

    def get_filter_value(self: Subnet, filter_name: str, method_name: str | None = None) -> Any:
        if filter_name == "ipv6-cidr-block-association.ipv6-cidr-block":
            return [association["Ipv6CidrBlock"] for association in _associations(self)]
        return original(self, filter_name, method_name)

    replace(Subnet, "get_filter_value", get_filter_value)
    Subnet.ipv6_cidr_block_association_set = property(_associations)  # type: ignore[assignment]


def _associations(subnet: Subnet) -> list[dict[str, Any]]:
    return [
        {
            "AssociationId": association["associationId"],
            "Ipv6CidrBlock": association["ipv6CidrBlock"],
            "Ipv6CidrBlockState": association["ipv6CidrBlockState"],
        }
        for association in subnet.ipv6_cidr_block_associations.values()
        if association["ipv6CidrBlockState"]["State"] == "associated"
    ]
