# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that find the TCP ports which a VPC's security groups allow or its network ACLs deny."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_TCP = ("tcp", "6", "-1", "all")
_EVERYBODY = ("0.0.0.0/0", "::/0")


def ports_let_in(groups: list[dict[str, Any]], ports: list[int]) -> list[str]:
    """Return, as text, the TCP ports that a rule of the security groups allows from at least one source address.

    `groups` are in the form that amazon.aws.ec2_security_group_info returns.
    """
    rules = [rule for group in groups for rule in group.get("ip_permissions", []) if rule["ip_protocol"] in _TCP]
    return [
        str(port) for port in ports if any(_covers(rule.get("from_port"), rule.get("to_port"), port) for rule in rules)
    ]


def ports_denied(acls: list[dict[str, Any]], ports: list[int]) -> list[str]:
    """Return, as text, the TCP ports that a network ACL denies to every source.

    For each port the matching rule with the lowest number decides. `acls` are in the form that
    amazon.aws.ec2_vpc_nacl_info returns. Their entries are lists of number, protocol, action, network, ICMP type, ICMP
    code, first port and last port.
    """
    denied = []
    for port in ports:
        for acl in acls:
            for _number, protocol, action, network, _type, _code, first, last in sorted(acl["ingress"], key=_number_of):
                if str(protocol) in _TCP and network in _EVERYBODY and _covers(first, last, port):
                    denied += [str(port)] if action == "deny" else []
                    break
    return denied


def _number_of(entry: list[Any]) -> int:
    return int(entry[0])


def _covers(first: Any, last: Any, port: int) -> bool:
    return first is None or last is None or int(first) <= port <= int(last)


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"ports_let_in": ports_let_in, "ports_denied": ports_denied}
