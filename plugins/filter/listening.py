# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that return the address at which a host reaches its own services. Several roles use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  nothing listens here


def own_address(listening: str) -> str:
    """Return the address at which a host reaches a service of its own that listens on the given numeric address.

    If the service listens on all addresses, this is the loopback address. Otherwise it is the given address.
    """
    return _LOOPBACK.get(listening, listening)


def own_url_host(listening: str) -> str:
    """Return the result of ``own_address`` in the form for a URL: an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    address = own_address(listening)
    return f"[{address}]" if ":" in address else address


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"own_address": own_address, "own_url_host": own_url_host}
