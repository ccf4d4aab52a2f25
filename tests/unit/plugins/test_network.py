"""A new VPC is divided into subnets of equal size, whose networks follow each other."""

from __future__ import annotations

import pytest
from ansible_collections.lowlatency.trading.plugins.filter.network import FilterModule

following_network = FilterModule().filters()["following_network"]
zone_networks = FilterModule().filters()["zone_networks"]
FIRST = "10.77.1.0/24"


def subnets(**zone_of_number: str) -> list[dict[str, str]]:
    return [
        {"cidr_block": following_network(FIRST, int(number[1:])), "availability_zone": zone}
        for number, zone in zone_of_number.items()
    ]


def numbers(zones: list[str], existing: list[dict[str, str]]) -> dict[str, int]:
    found = zone_networks(zones, FIRST, existing)
    assert all(each["cidr"] == following_network(FIRST, each["number"]) for each in found)
    return {each["zone"]: each["number"] for each in found}


def test_zones_of_a_new_vpc_get_one_network_after_the_other() -> None:
    assert numbers(["b", "a"], []) == {"b": 0, "a": 1}


def test_a_zone_keeps_its_subnet_and_another_gets_the_first_free_network() -> None:
    assert numbers(["b"], subnets(_0="a")) == {"b": 1}
    assert numbers(["b"], subnets(_0="a", _1="b")) == {"b": 1}
    assert numbers(["c"], subnets(_0="a", _2="b")) == {"c": 1}
    assert numbers(["b", "a", "c"], subnets(_0="a", _1="b")) == {"b": 1, "a": 0, "c": 2}


def test_of_two_subnets_in_a_zone_the_first_is_taken_and_one_of_others_is_no_part_of_the_series() -> None:
    assert numbers(["a"], subnets(_0="a", _1="a")) == {"a": 0}
    assert numbers(["a"], [{"cidr_block": "10.77.200.0/26", "availability_zone": "a"}]) == {"a": 0}


@pytest.mark.parametrize(
    ("cidr", "number", "expected"),
    [
        ("10.77.1.0/24", 0, "10.77.1.0/24"),
        ("10.77.1.0/24", 2, "10.77.3.0/24"),
        ("10.77.255.0/24", 1, "10.78.0.0/24"),
        ("2600:1f18:6b:e600::/64", 1, "2600:1f18:6b:e601::/64"),
        ("2600:1f18:6b::/64", 15, "2600:1f18:6b:f::/64"),
    ],
)
def test_a_network_lies_a_number_of_its_own_size_behind(cidr: str, number: int, expected: str) -> None:
    assert following_network(cidr, number) == expected


def test_the_end_of_the_address_space_is_said() -> None:
    with pytest.raises(ValueError, match=r"no 2 more networks behind 255\.255\.254\.0/24"):
        following_network("255.255.254.0/24", 2)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="has host bits set"):
        following_network("10.77.1.1/24", 0)
