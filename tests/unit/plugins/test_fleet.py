"""The names and the inputs of a fleet.

A fleet's names differ from the names of all other environments. Invalid inputs are refused before any resource is
created.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import fleet

ROOT = Path(__file__).parents[3]
PREFIX = "trading-demo"
ZONES = ["us-east-1a", "us-east-1b", "us-east-1c"]
SYMBOLS = [{"name": name, "reference_price": "1.00"} for name in ("TEST", "AAPL", "MSFT")]
ALPHA = {"name": "alpha", "symbols": ["TEST", "AAPL"], "hosts": ["trading-demo-alpha"]}
BETA = {"name": "beta", "symbols": ["MSFT"], "hosts": ["trading-demo-beta"]}
PORTS = {"order_port": 9001, "feed_port": 9002, "telemetry_port": 8000}


def wrong(
    *declared: Any, prefix: str = PREFIX, resources: Any = (), left: str = "refuse", spot: bool = False, ipv6: Any = ()
) -> list[str]:
    settings = {**PORTS, "spot": spot, "client_ipv6_cidrs": list(ipv6)}
    offered = {"type": "c6g.medium", "zones": ZONES, "zone_count": 2}
    return fleet.problems(list(declared), SYMBOLS, prefix, offered, resources, left, settings)


def test_what_is_right_is_not_refused() -> None:
    assert wrong(ALPHA, BETA) == []
    assert wrong({**ALPHA, "zone": "us-east-1c", "accounts": ["DESK1"]}, BETA) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"symbols": ["TEST", "AAPL", "MSFT"]}, "symbol MSFT is of partition alpha and of beta: keep one of them"),
        ({"symbols": ["TEST"]}, "symbol AAPL is of no partition"),
        ({"type": "c6g.large"}, "partition alpha is to have type c6g.large, and all groups have trading_instance_type"),
        ({"size": 2}, "partition alpha asks for a group of 2 hosts: its one book is on one"),
        (
            {"zone": "us-east-1z"},
            "partition alpha is in zone us-east-1z, which does not offer c6g.medium; these do: us-ea",
        ),
        (
            {"hosts": ["trading-demo-1"]},
            "partition alpha needs hosts: [trading-demo-alpha], as its group's host is called",
        ),
        (
            {"zone": "us-east-1b", "order_port": 9011},
            "port 9011 of the balancer in us-east-1b would be of partition alpha",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(changed: dict[str, Any], said: str) -> None:
    assert said in "; ".join(wrong({**ALPHA, **changed}, BETA))


def test_a_name_that_aws_does_not_take_is_refused() -> None:
    long = {**ALPHA, "name": "a" * 16, "hosts": [f"trading-production-{'a' * 16}"]}
    (order, feed) = wrong(long, {**BETA, "hosts": ["trading-production-beta"]}, prefix="trading-production")
    assert (
        "a target group trading-production-O-aaaaaaaaaaaaaaaa, whose name has 37 characters, and AWS takes 32" in order
    )
    assert "trading-production-F-" in feed
    environment = f"trading-{'e' * 24}"
    said = wrong(
        {**ALPHA, "hosts": [f"{environment}-alpha"]}, {**BETA, "hosts": [f"{environment}-beta"]}, prefix=environment
    )
    assert any("zone us-east-1a needs a load balancer" in sentence and "36 characters" in sentence for sentence in said)


def test_what_the_environment_has_counts() -> None:
    volume = {"kind": "volume", "id": "vol-1", "name": "trading-demo-alpha-journal", "zone": "us-east-1b"}
    (said,) = wrong(ALPHA, BETA, resources=[volume])
    assert "partition alpha is in us-east-1a, and its journal volume vol-1 in us-east-1b" in said
    assert wrong({**ALPHA, "zone": "us-east-1b"}, {**BETA, "zone": "us-east-1b"}, resources=[volume]) == []
    (said,) = wrong(ALPHA, BETA, resources=[{"kind": "instance", "id": "i-1", "name": "trading-demo-1"}])
    assert "the environment has hosts that no group made: trading-demo-1" in said
    gamma = {"kind": "auto-scaling-group", "id": "arn", "name": "trading-demo/gamma"}
    (said,) = wrong(ALPHA, BETA, resources=[gamma])
    assert "group trading-demo/gamma has no partition any more, and its host would end with its open orders" in said
    assert wrong(ALPHA, BETA, resources=[gamma], left="remove") == []


def test_a_partition_keeps_its_ports_when_an_earlier_one_leaves_the_list() -> None:
    targets = [
        {"kind": "target-group", "id": "arn", "name": one["target_group"], "port": str(one["port"])}
        for group in fleet.groups([ALPHA, BETA], PREFIX, ZONES, 1)
        for one in group["listeners"]
    ]
    assert wrong(ALPHA, BETA, resources=targets) == []
    left = {**BETA, "symbols": ["TEST", "AAPL", "MSFT"]}
    (said,) = wrong(left, resources=targets, left="remove")
    assert "partition beta has the ports 9011 and 9012 and would get 9001 and 9002" in said
    assert "write order_port: 9011 and feed_port: 9012 at partition beta" in said
    assert wrong({**left, "order_port": 9011, "feed_port": 9012}, resources=targets, left="remove") == []


def test_the_security_group_by_which_a_fleet_is_found_is_made_first() -> None:
    tasks = yaml.safe_load((ROOT / "roles/aws_fleet/tasks/main.yml").read_text(encoding="utf-8"))
    made = [task["ansible.builtin.import_tasks"] for task in tasks[-1]["block"]]
    assert (made[0], made[1:3]) == ("security_groups.yml", ["role.yml", "volumes.yml"])


def test_no_partition_and_spot_and_ipv6_are_refused() -> None:
    assert wrong() == ["it is empty, and a fleet has a group for each of them"]
    assert wrong(ALPHA, BETA, spot=True) == ["its groups launch on demand: leave trading_spot out"]
    (said,) = wrong(ALPHA, BETA, ipv6=["2001:db8::/64"])
    assert said == "its balancers have IPv4 addresses only: leave trading_client_ipv6_cidrs out"
    assert wrong("alpha") == ["partition 1 is no dictionary with name and symbols"]


def test_partitions_take_the_zones_in_turns_and_each_zone_has_one_balancer() -> None:
    gamma = {"name": "gamma", "symbols": ["IBM"]}
    found = fleet.groups([ALPHA, BETA, gamma], PREFIX, ZONES, 2)
    assert [(one["host"], one["zone"]) for one in found] == [
        ("trading-demo-alpha", "us-east-1a"),
        ("trading-demo-beta", "us-east-1b"),
        ("trading-demo-gamma", "us-east-1a"),
    ]
    assert [(one["name"], [each["port"] for each in one["listeners"]]) for one in fleet.balancers(found, PREFIX)] == [
        ("trading-demo-N-a", [9001, 9002, 9021, 9022]),
        ("trading-demo-N-b", [9011, 9012]),
    ]
    assert fleet.zones_needed(found, ZONES) == ["us-east-1a", "us-east-1b"]
    assert fleet.balancer(PREFIX, "us-gov-west-1b") == "trading-demo-N-b"
    assert fleet.balancer(PREFIX, "us-west-2-lax-1a") == "trading-demo-N-us-west-2-lax-1a"


def test_an_alarm_watches_the_target_group_of_orders_by_cloudwatchs_names() -> None:
    head = "arn:aws:elasticloadbalancing:us-east-1:123456789012"
    balanced: list[dict[str, Any]] = [
        {
            "arn": f"{head}:loadbalancer/net/trading-demo-N-a/0a",
            "target_groups": {
                f"trading-demo-{letter}-alpha": f"{head}:targetgroup/trading-demo-{letter}-alpha/{letter}1"
                for letter in "OF"
            },
        },
        {"arn": None, "target_groups": {"trading-demo-O-beta": f"{head}:targetgroup/trading-demo-O-beta/02"}},
        {"skipped": True},
    ]
    # The balancer of beta does not exist yet, as in check mode.
    assert fleet.targets(fleet.groups([ALPHA, BETA], PREFIX, ZONES, 2), balanced) == [
        {
            "partition": "alpha",
            "group": "trading-demo/alpha",
            "load_balancer": "net/trading-demo-N-a/0a",
            "target_group": "targetgroup/trading-demo-O-alpha/O1",
        }
    ]


def test_alarms_go_before_the_group_that_they_watch() -> None:
    tasks = yaml.safe_load((ROOT / "roles/aws_fleet/tasks/gone.yml").read_text(encoding="utf-8"))
    modules = [key for task in tasks for key in task if key.startswith("lowlatency.")]
    assert modules == ["lowlatency.trading.cloudwatch_alarms", "lowlatency.trading.host_group"]
    assert tasks[0]["loop"] == tasks[1]["loop"]
    assert tasks[0]["lowlatency.trading.cloudwatch_alarms"] == {"prefix": "{{ item }}/", "alarms": []}


def test_no_name_is_that_of_another_environment() -> None:
    def names(environment: str, partition: str) -> set[str]:
        found = fleet.groups([{"name": partition, "symbols": ["X"]}], f"trading-{environment}", ZONES, 1)
        listed = [one["target_group"] for group in found for one in group["listeners"]]
        return {found[0]["group"], *listed, *(one["name"] for one in fleet.balancers(found, f"trading-{environment}"))}

    assert names("prod", "b-c").isdisjoint(names("prod-b", "c"))
