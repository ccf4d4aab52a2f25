# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for the address at which a host reaches its own services, for the roles slo, drill, readiness and others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  nothing listens here


def own_address(listening: str) -> str:
    """Return the address at which the host itself reaches a service that listens on this numeric address.

    It is the loopback address if the service listens on all addresses, otherwise the address itself.
    """
    return _LOOPBACK.get(listening, listening)


def own_url_host(listening: str) -> str:
    """Return ``own_address`` as a URL needs it: an IPv6 address is in brackets (RFC 3986, 3.2.2)."""
    address = own_address(listening)
    return f"[{address}]" if ":" in address else address


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return each filter's function by the name that roles and playbooks use."""
        return {"own_address": own_address, "own_url_host": own_url_host}
