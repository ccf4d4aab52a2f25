#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that reads which firewalls a host has, and whether the collection's own rules are loaded and proven.

Rules are proven when a connection to the host succeeded while they were loaded.
"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: firewall_info
short_description: Read which firewalls a host has
version_added: 0.2.0
description:
  - Read whether a table of nftables is loaded, whether its rules are proven, and which other firewalls are active.
    Rules are proven when the host could be reached while they were loaded.
  - Change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  table:
    description: The name of the table, of the family C(inet).
    type: str
    required: true
  rules:
    description: The file with the wanted rules.
    type: path
  proven:
    description: The file with the proven rules.
    type: path
  users:
    description: The Linux users that the rules name.
    type: list
    elements: str
    default: []
  ports:
    description: The TCP ports whose open sessions are compared with O(networks).
    type: list
    elements: int
    default: []
  networks:
    description: The networks, IPv4 and IPv6, from which sessions to O(ports) are allowed.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read whether the host's firewall is loaded
  lowlatency.trading.firewall_info:
    table: trading
  register: firewall
"""

RETURN = r"""
has_nft:
  description: Whether the program nft is installed.
  type: bool
  returned: success
loaded:
  description: Whether the table is loaded.
  type: bool
  returned: success
is_proven:
  description: Whether the proven rules and the wanted rules are the same.
  type: bool
  returned: success
others:
  description: The active ones of the firewalls ufw and firewalld.
  type: list
  elements: str
  returned: success
outside:
  description: >-
    Other hosts outside O(networks) that have an open session to one of O(ports).
  type: list
  elements: str
  returned: success
  sample: ["198.51.100.9 on port 9001"]
uids:
  description: The numeric id of each of O(users) that exists.
  type: dict
  returned: success
  sample: {"root": 0}
missing_users:
  description: The names in O(users) that do not exist.
  type: list
  elements: str
  returned: success
"""

import ipaddress
import pwd
import re
from pathlib import Path
from typing import Any, Union

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

_UFW = Path("/etc/ufw/ufw.conf")


def is_proven(rules: str | None, proven: str | None) -> bool:
    """Return whether both files exist and have the same content: the rules, and the copy that marks them as proven."""
    try:
        return bool(rules and proven) and Path(rules or "").read_bytes() == Path(proven or "").read_bytes()
    except FileNotFoundError:
        return False


def ufw_is_on(configuration: str) -> bool:
    """Return whether ufw filters packets, from the text of its file ufw.conf.

    The state of ufw's systemd unit is of no use: the unit is active even when ufw does not filter.
    """
    return re.search(r"^\s*ENABLED\s*=\s*[\"']?yes\b", configuration, re.MULTILINE | re.IGNORECASE) is not None


def others(module: AnsibleModule) -> list[str]:
    """Return the names of the other firewalls that are active: ufw, firewalld."""
    found = []
    if _UFW.exists() and ufw_is_on(_UFW.read_text(encoding="utf-8", errors="replace")):
        found.append("ufw")
    _code, state, _error = outside.run(module, ["systemctl", "is-active", "firewalld.service"])
    if state.strip() == "active":
        found.append("firewalld")
    return found


def numbers(users: list[str]) -> dict[str, int]:
    """Return a dictionary: user → numeric user id, for the users that exist."""
    known = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return {user: known[user] for user in users if user in known}


def end_of(text: str) -> tuple[Address, int]:
    """Return address and port of one end of a connection, from its text in the output of ss.

    An IPv4-mapped IPv6 address is returned as IPv4.
    """
    host, _colon, port = text.rpartition(":")
    address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address, int(port)


def outsiders(sessions: str, ports: list[int], networks: list[str]) -> list[str]:
    """Return the peers of open sessions that are outside the given networks.

    Each is a text such as "198.51.100.9 on port 9001". Only sessions to the given ports count. `sessions` is the output
    of ss.
    """
    inside = [ipaddress.ip_network(network, strict=False) for network in networks]
    found = set()
    for line in sessions.splitlines():
        own, other = line.split()[2:4]
        (here, port), (peer, _port) = end_of(own), end_of(other)
        if port in ports and peer != here and not peer.is_loopback and not any(peer in network for network in inside):
            found.add(f"{peer} on port {port}")
    return sorted(found)


def sessions(module: AnsibleModule) -> str:
    """Return the open TCP sessions in the form of ss.

    Each line is one session: the lengths of two queues, the local end, and the remote end.
    """
    if not module.params["ports"]:
        return ""
    ss = module.get_bin_path("ss", required=True, opt_dirs=["/usr/sbin"])
    return str(outside.run(module, [ss, "-Htn", "state", "established"], check_rc=True)[1])


def observe(module: AnsibleModule) -> dict[str, Any]:
    """Return the module's results (see RETURN)."""
    given = module.params
    nft = module.get_bin_path("nft", opt_dirs=["/usr/sbin"])
    uids = numbers(given["users"])
    chains = outside.run(module, [nft, "list", "chains", "inet"])[1] if nft else ""
    return {
        "has_nft": bool(nft),
        "loaded": f"table inet {given['table']} " in chains,
        "is_proven": is_proven(given["rules"], given["proven"]),
        "others": others(module),
        "outside": outsiders(sessions(module), given["ports"], given["networks"]),
        "uids": uids,
        "missing_users": [user for user in given["users"] if user not in uids],
    }


def main() -> None:
    """Read the firewalls and report them."""
    module = AnsibleModule(
        argument_spec={
            "table": {"type": "str", "required": True},
            "rules": {"type": "path"},
            "proven": {"type": "path"},
            "users": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "networks": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **observe(module))


if __name__ == "__main__":
    main()
