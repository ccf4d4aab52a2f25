# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of equal size, one after the other. Pure: text in, text out."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any


def following_network(cidr: str, number: int) -> str:
    """Return the network that lies ``number`` networks of the same size behind ``cidr`` (0: itself), IPv4 or IPv6.

    Raises ValueError for what is no network, and at the end of the address space.
    """
    network = ipaddress.ip_network(cidr)
    try:
        start = network.network_address + number * network.num_addresses
    except ipaddress.AddressValueError:
        raise ValueError(f"there are no {number} more networks behind {cidr}") from None
    return f"{start}/{network.prefixlen}"


class FilterModule:
    """The filters by the name that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them."""
        return {"following_network": following_network}
