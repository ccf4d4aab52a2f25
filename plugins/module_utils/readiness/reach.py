# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges for access: security group, ports, firewall, the live page, market data, people (see answers.py).

Each judge's docstring states the condition under which its line of files/readiness.yml is "met".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.readiness.answers import (
    FAILED,
    MET,
    NOT_DONE,
    Answer,
    NotTakenError,
    Readings,
    of,
    of_each_partition,
    taken,
)

_TCP = ("tcp", "6")
_ALL = ("-1", "all")


def _rules(group: dict[str, Any], generators: str) -> Iterator[tuple[str, str]]:
    """Yield (port, source) for each rule of a security group. Rules for the load generators' group are left out."""
    for rule in group.get("ip_permissions", []):
        protocol, first, last = str(rule["ip_protocol"]), rule.get("from_port"), rule.get("to_port")
        if protocol in _TCP and first is not None and first == last:
            what = str(first)
        elif protocol in _ALL or first is None:
            what = "everything" if protocol in _ALL else f"all of {protocol}"
        else:
            what = f"{first} to {last}" if protocol in _TCP else f"{protocol} {first} to {last}"
        sources = [one["cidr_ip"] for one in rule.get("ip_ranges", [])]
        sources += [one["cidr_ipv6"] for one in rule.get("ipv6_ranges", [])]
        sources += [one["prefix_list_id"] for one in rule.get("prefix_list_ids", [])]
        sources += [one["group_id"] for one in rule.get("user_id_group_pairs", []) if one["group_id"] != generators]
        for source in sources:
            yield what, source


def security_group(readings: Readings) -> Answer:
    """Judge whether the security group allows exactly the declared traffic, and network ACLs deny none of it."""
    network = taken(readings, "network")
    groups = {one["group_name"]: one for one in network["groups"]}
    name = network["group"]
    # An environment cannot be created without declared networks. So a run without any was not given its variables.
    if not any(one["cidrs"] for one in network["declared"]):
        raise NotTakenError("this run was given neither trading_operator_cidr nor trading_client_cidrs")
    if name not in groups:
        return Answer(FAILED, (f"there is no security group {name}",))
    generators = groups.get(network["generator_group"], {}).get("group_id", "")
    found = set(_rules(groups[name], generators))
    wanted = {(str(port), cidr) for one in network["declared"] for port in one["ports"] for cidr in one["cidrs"]}
    problems = [f"port {port} is open to {source}, which nobody declared" for port, source in sorted(found - wanted)]
    problems += [f"port {port} is declared for {cidr}, and not open" for port, cidr in sorted(wanted - found)]
    problems += [f"a network ACL denies port {port}" for port in network["denied"]]
    declared = [
        f"{', '.join(map(str, one['ports']))} from {', '.join(one['cidrs']) or 'nobody'}" for one in network["declared"]
    ]
    return of(problems, [f"let in: {'; '.join(declared)}"])


def ports(readings: Readings) -> Answer:
    """Judge whether the controller finds the operator's ports open, and no undeclared port."""
    ways, known = taken(readings, "ways"), taken(readings, "ports")
    answers: dict[str, str] = ways["answers"]
    operators = [str(port) for port in known["operators"]]
    clients = [str(port) for port in known["clients"]]
    problems = [f"port {port} is {answers[port]} from the controller" for port in operators if answers[port] != "open"]
    problems += [f"port {port} refuses: nobody listens there" for port in clients if answers[port] == "refused"]
    others = [port for port, way in answers.items() if way == "open" and port not in operators + clients]
    problems += [f"port {port} answers the controller, and nobody declared it" for port in others]
    if problems:
        return Answer(FAILED, tuple(problems))
    if not taken(readings, "host")["readings"].get("ports"):
        raise NotTakenError("it is not known on which ports the host listens: `ss` told none")
    ways_of = {
        way: [port for port, found in answers.items() if found == way] for way in dict.fromkeys(answers.values())
    }
    return Answer(MET, ("; ".join(f"{way}: {', '.join(found)}" for way, found in ways_of.items()),))


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "[::1]") or address.endswith("%lo")


def firewall(readings: Readings) -> Answer:
    """Judge whether the host's firewall is active, and every service listens where other hosts can reach it."""
    host, known = taken(readings, "host")["readings"], taken(readings, "ports")
    listening = {
        port: [one["address"] for one in each if not _is_loopback(str(one["address"]))]
        for port, each in host["ports"].items()
    }
    wanted = [str(port) for port in known["operators"] + known["clients"]]
    problems = [f"nobody listens on port {port} for other hosts" for port in wanted if not listening.get(port)]
    open_beside = sorted(port for port, addresses in listening.items() if addresses and port not in wanted)
    if not known["firewall"]:
        problems += ["hardening_firewall is false, so only the security group stands before the host"]
    elif not host["firewall"]["loaded"]:
        problems += ["the table inet trading is not loaded"]
    beside = [f"behind the firewall: port {', '.join(open_beside)}"] if open_beside else []
    return of(problems, [f"the table inet trading is loaded; listening: {', '.join(wanted)}", *beside])


def page(readings: Readings) -> Answer:
    """Judge whether the live page and its metrics answer the controller with the token, and refuse it without."""
    found = taken(readings, "page")
    problems = []
    if found["token_declared"] and not found["asks_for_token"]:
        problems.append("the host has no token, and telemetry_token is not none")
    for path, statuses in found["answers"].items():
        if statuses["with"] != 200:
            problems.append(f"{path} answers {statuses['with'] or statuses['said']} instead of 200")
        elif found["asks_for_token"] and path != "/health" and statuses["without"] not in (401, 403):
            problems.append(f"{path} answers {statuses['without']} without the token")
    token = (
        "with the token, refused without" if found["asks_for_token"] else "with no token, which telemetry_token says"
    )
    return of(problems, [f"{', '.join(found['answers'])} {token}"])


@of_each_partition("feed")
def feed(readings: Readings) -> Answer:
    """Judge whether a login to market data from the controller succeeds."""
    found = taken(readings, "feed")
    if found["accepted"]:
        return Answer(MET, (f"logged in to {found['target']}: session {found['session']}, next {found['sequence']}",))
    if found["answer"] == "silent":
        return Answer(NOT_DONE, (f"{found['target']} does not answer the controller: is it in trading_client_cidrs?",))
    return Answer(FAILED, (f"{found['target']}: {found['answer']}",))


def people(readings: Readings) -> Answer:
    """Judge whether the host has exactly the Linux accounts of hardening_operators.

    Each must be in the groups of its role, and in no other.
    """
    found = taken(readings, "people")
    declared = {one["name"]: one["role"] for one in found["declared"]}
    # Splitting the empty member list of a group in /etc/group results in one empty name. Drop it.
    members: dict[str, list[str]] = {group: [name for name in each if name] for group, each in found["members"].items()}
    there = set(found["made"]) & set(found["accounts"])
    problems = [f"{name} has no account" for name in sorted(set(declared) - there)]
    problems += [f"{name} has an account, and is not in hardening_operators" for name in sorted(there - set(declared))]
    rights = {"observer": 1, "operator": 2, "deployer": 3}
    groups = ("trading-observer", "trading-operator", "trading-deployer")
    for name, role in sorted(declared.items()):
        wanted = set(groups[: rights[role]])
        has = {group for group in groups if name in members.get(group, [])}
        if name in there and has != wanted:
            problems.append(f"{name} ({role}) is in {', '.join(sorted(has)) or 'none'} of the groups of the roles")
    for group in groups:
        strangers = sorted(set(members.get(group, [])) - set(declared))
        problems += [
            f"{name} is in {group}, and is not in hardening_operators" for name in strangers if name not in there
        ]
    return of(
        problems, [f"{name} ({role})" for name, role in sorted(declared.items())] or ["nobody but the first user"]
    )
