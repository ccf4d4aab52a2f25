# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that assign consecutive networks of equal size to Availability Zones. They send no requests."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any


def following_network(cidr: str, number: int) -> str:
    """Return the network that lies ``number`` networks of the same size after the network ``cidr``.

    If ``number`` is 0, the result is ``cidr`` itself. Both IPv4 and IPv6 are accepted. Raises ValueError for an invalid
    network, and when the result would lie beyond the end of the address space.
    """
    network = ipaddress.ip_network(cidr)
    try:
        start = network.network_address + number * network.num_addresses
    except ipaddress.AddressValueError:
        raise ValueError(f"there are no {number} more networks behind {cidr}") from None
    return f"{start}/{network.prefixlen}"


def zone_networks(zones: list[str], first_cidr: str, subnets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a list with one dictionary for each zone: ``zone``, the network ``cidr``, and its ``number``.

    The network ``cidr`` is ``number`` networks after ``first_cidr``. AWS cannot move a subnet to another zone. So a
    zone that already has a subnet with one of these networks keeps that network. Any other zone gets the first unused
    network. ``subnets`` are the subnets of the VPC, as ``ec2_vpc_subnet_info`` returns them. Raises ValueError as
    :func:`following_network` does.
    """
    zone_of = {subnet["cidr_block"]: subnet["availability_zone"] for subnet in subnets}
    networks = [following_network(first_cidr, number) for number in range(len(subnets) + len(zones))]
    free = [cidr for cidr in networks if cidr not in zone_of]
    own = {zone_of[cidr]: cidr for cidr in reversed(networks) if cidr in zone_of}
    chosen = {zone: own[zone] if zone in own else free.pop(0) for zone in zones}
    return [{"zone": zone, "cidr": cidr, "number": networks.index(cidr)} for zone, cidr in chosen.items()]


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"following_network": following_network, "zone_networks": zone_networks}
