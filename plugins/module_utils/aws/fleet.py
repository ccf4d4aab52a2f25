# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that name and check the AWS resources of a fleet before any of them is created.

A fleet has an Auto Scaling group of one host for each partition. It has a load balancer in each zone with such a group.
In the names of balancers and target groups a capital letter separates environment and partition, whose names contain no
capital letter. Without it `prod` with partition `b-c` and `prod-b` with partition `c` would have the same name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils import partitions

# The most characters in the name of a load balancer or target group:
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html, CreateTargetGroup
NAME_MAX = 32
_ZONE = re.compile(r"[a-z]+(?:-[a-z]+)+-\d+([a-z])")


def groups(
    declared: Any, prefix: str, zones: Sequence[str], zone_count: Any, order_port: Any = 9001, feed_port: Any = 9002
) -> list[dict[str, Any]]:
    """Return one dictionary for each partition: the names of its group, host and volume, its zone, and its listeners.

    The listeners are those that the load balancer has for the partition. Partitions without a zone are spread in turns
    over the first `zone_count` zones. Raises ValueError for a malformed list.
    """
    first = list(zones)[: max(1, int(zone_count))] or [""]
    found = partitions.complete(declared, [], order_port, feed_port)
    return [
        {
            "partition": one["name"],
            "zone": entry.get("zone") or first[number % len(first)],
            "group": f"{prefix}/{one['name']}",
            "host": f"{prefix}-{one['name']}",
            "volume": f"{prefix}-{one['name']}-journal",
            "listeners": [
                {
                    "port": one[port],
                    "target_group": f"{prefix}-{letter}-{one['name']}",
                    "health_path": f"/health?partition={one['name']}",
                }
                for port, letter in (("order_port", "O"), ("feed_port", "F"))
            ],
        }
        for number, (one, entry) in enumerate(zip(found, declared))
    ]


def balancer(prefix: str, zone: str) -> str:
    """Return the name of a zone's balancer. It ends with the zone's letter, or with the whole name of a local zone."""
    letter = _ZONE.fullmatch(zone)
    return f"{prefix}-N-{letter[1] if letter else zone}"


def balancers(found: Sequence[Mapping[str, Any]], prefix: str) -> list[dict[str, Any]]:
    """Return one dictionary for each zone with a group: the load balancer's name, its zone, and its listeners.

    The listeners are those of all partitions in the zone.
    """
    zones = list(dict.fromkeys(group["zone"] for group in found))
    return [
        {
            "name": balancer(prefix, zone),
            "zone": zone,
            "listeners": [listener for group in found if group["zone"] == zone for listener in group["listeners"]],
        }
        for zone in zones
    ]


def targets(found: Sequence[Mapping[str, Any]], balanced: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return one dictionary for each group whose load balancer exists: what CloudWatch calls the group's targets.

    ``balanced`` are results of the module network_load_balancer. ``load_balancer`` and ``target_group`` are values of
    the dimensions of AWS/NetworkELB. The target group is that of orders: the health checks of both ask the same.
    """
    places = {
        name: (one["arn"].rpartition(":loadbalancer/")[2], arn.rpartition(":")[2])
        for one in balanced
        if one.get("arn")
        for name, arn in one["target_groups"].items()
    }
    watched = [(group, places.get(group["listeners"][0]["target_group"])) for group in found]
    return [
        {
            "partition": group["partition"],
            "group": group["group"],
            "load_balancer": place[0],
            "target_group": place[1],
        }
        for group, place in watched
        if place
    ]


def zones_needed(found: Sequence[Mapping[str, Any]], zones: Sequence[str]) -> list[str]:
    """Return the zones that need a subnet: all zones up to the last zone with a group, in the order of the list.

    Subnets get consecutive networks in this order. So no subnet moves when a further zone gets a group.
    """
    last = max((list(zones).index(group["zone"]) for group in found if group["zone"] in zones), default=0)
    return list(zones)[: last + 1]


def left(found: Sequence[Mapping[str, Any]], resources: Sequence[Mapping[str, Any]], kind: str, key: str) -> list[str]:
    """Return the names of leftover resources of one kind, sorted.

    ``found`` are the groups or balancers that the fleet needs. ``key`` is the key under which these have the name of
    such a resource. A resource is left over when none of them names it.
    """
    wanted = {group[key] for group in found}
    return sorted(one["name"] for one in resources if one["kind"] == kind and one["name"] not in wanted)


def problems(
    declared: Any,
    symbols: Sequence[Mapping[str, Any]],
    prefix: str,
    offered: Mapping[str, Any],
    resources: Sequence[Mapping[str, Any]],
    partitions_left: str,
    settings: Mapping[str, Any],
) -> list[str]:
    """Return one sentence for each problem of the fleet that ``declared``, a list of partitions, describes.

    `offered` has the instance `type`, the `zones` that offer it, and `zone_count`. `resources` are the resources that
    the environment has now. `settings` are the ports, `spot`, and `client_ipv6_cidrs`. A group without a partition is a
    problem unless `partitions_left` is "remove".
    """
    if not declared:
        return ["it is empty, and a fleet has a group for each of them"]
    ports = {"order": settings["order_port"], "feed": settings["feed_port"], "telemetry": settings["telemetry_port"]}
    if wrong := partitions.problems(declared, symbols, _accounts(declared), [], {**ports, "SSH": 22}, {}):
        return wrong
    zones = offered["zones"]
    found = groups(declared, prefix, zones, offered["zone_count"], ports["order"], ports["feed"])
    return [
        *_hosts(declared, found),
        *_types(declared, offered["type"]),
        *_ports(found),
        *_moved(found, resources),
        *_zones(found, offered["type"], zones),
        *_names(found, prefix),
        *_volumes(found, resources),
        *_others(prefix, resources),
        *(_gone(found, resources) if partitions_left != "remove" else ()),
        *(
            ["its balancers have IPv4 addresses only: leave trading_client_ipv6_cidrs out"]
            if settings["client_ipv6_cidrs"]
            else ()
        ),
        *(["its groups launch on demand: leave trading_spot out"] if settings["spot"] else ()),
    ]


def _accounts(declared: Any) -> list[dict[str, str]]:
    """Return one dictionary with a name for each engine account that the partitions name.

    The check that all environments share treats these accounts as known. Later each host checks whether they exist.
    """
    entries = [entry for entry in declared if isinstance(entry, Mapping)]
    return [{"name": name} for entry in entries for name in entry.get("accounts") or []]


def _hosts(declared: Any, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry, group in zip(declared, found):
        if entry.get("hosts") != [group["host"]]:
            yield f"partition {entry['name']} needs hosts: [{group['host']}], as its group's host is called"


def _types(declared: Any, instance_type: str) -> Iterator[str]:
    for entry in declared:
        if entry.get("type", instance_type) != instance_type:
            yield (
                f"partition {entry['name']} is to have type {entry['type']}, and all groups have trading_instance_type "
                f"{instance_type}: leave the type out"
            )


def _ports(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each port that two partitions would use on the same balancer, even on different hosts."""
    taken: dict[tuple[str, int], str] = {}
    for group in found:
        for listener in group["listeners"]:
            place = (group["zone"], listener["port"])
            if place in taken:
                yield (
                    f"port {listener['port']} of the balancer in {group['zone']} would be of partition {taken[place]} "
                    f"and of {group['partition']}: give one of them another order_port or feed_port"
                )
            taken.setdefault(place, group["partition"])


def _moved(found: Sequence[Mapping[str, Any]], resources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each partition whose ports would change.

    For example, they change when an earlier partition is removed from the list.
    """
    had = {one["name"]: int(one["port"]) for one in resources if one["kind"] == "target-group"}
    for group in found:
        there = [had.get(listener["target_group"], listener["port"]) for listener in group["listeners"]]
        wanted = [listener["port"] for listener in group["listeners"]]
        if there != wanted:
            yield (
                f"partition {group['partition']} has the ports {there[0]} and {there[1]} and would get {wanted[0]} and "
                f"{wanted[1]}, and AWS cannot change the port of a target group: write order_port: {there[0]} and "
                f"feed_port: {there[1]} at partition {group['partition']}"
            )


def _zones(found: Sequence[Mapping[str, Any]], instance_type: str, zones: Sequence[str]) -> Iterator[str]:
    for group in found:
        if group["zone"] not in zones:
            yield (
                f"partition {group['partition']} is in zone {group['zone']}, which does not offer {instance_type}; "
                f"these do: {', '.join(zones)}"
            )


def _names(found: Sequence[Mapping[str, Any]], prefix: str) -> Iterator[str]:
    names = {listener["target_group"]: group["partition"] for group in found for listener in group["listeners"]}
    for name, partition in names.items():
        if len(name) > NAME_MAX:
            yield (
                f"partition {partition} needs a target group {name}, whose name has {len(name)} characters, and AWS "
                f"takes {NAME_MAX}: choose a shorter name for it, or for trading_environment"
            )
    for one in balancers(found, prefix):
        if len(one["name"]) > NAME_MAX:
            yield (
                f"zone {one['zone']} needs a load balancer {one['name']}, whose name has {len(one['name'])} "
                f"characters, and AWS takes {NAME_MAX}: choose a shorter trading_environment"
            )


def _volumes(found: Sequence[Mapping[str, Any]], resources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for group in found:
        for one in resources:
            if one["kind"] == "volume" and one["name"] == group["volume"] and one["zone"] != group["zone"]:
                yield (
                    f"partition {group['partition']} is in {group['zone']}, and its journal volume {one['id']} in "
                    f"{one['zone']}: a volume never leaves its zone. Name that zone as the partition's"
                )


def _others(prefix: str, resources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    numbered = re.compile(rf"{re.escape(prefix)}-\d+")
    single = sorted(one["name"] for one in resources if one["kind"] == "instance" and numbered.fullmatch(one["name"]))
    if single:
        yield f"the environment has hosts that no group made: {', '.join(single)}. Give the fleet another environment"


def _gone(found: Sequence[Mapping[str, Any]], resources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for name in left(found, resources, "auto-scaling-group", "group"):
        yield (
            f"group {name} has no partition any more, and its host would end with its open orders. After the day's end "
            f"say -e trading_partitions_left=remove; its journal volume stays"
        )
