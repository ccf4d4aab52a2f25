"""An existing VPC keeps its network. A new VPC gets a network that overlaps with none in use."""

from __future__ import annotations

from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.aws import address_plan

OWN = {"Project": "lowlatency-trading", "Environment": "demo"}


def vpc(identity: str, *cidrs: str, state: str = "associated", **tags: str) -> dict[str, Any]:
    return {
        "VpcId": identity,
        "CidrBlock": cidrs[0],
        "CidrBlockAssociationSet": [{"CidrBlock": cidr, "CidrBlockState": {"State": state}} for cidr in cidrs],
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


DEFAULT = vpc("vpc-0", "172.31.0.0/16")


def problems(vpcs: list[dict[str, Any]], cidr: str = "10.77.0.0/16") -> list[str]:
    return list(address_plan.problems(vpcs, OWN, cidr))


def test_a_network_beside_the_others_is_taken() -> None:
    assert problems([]) == []
    assert problems([DEFAULT, vpc("vpc-1", "10.78.0.0/16", Name="other")]) == []


def test_a_network_that_overlaps_is_refused_by_variable_and_says_with_which() -> None:
    (problem,) = problems([DEFAULT, vpc("vpc-1", "10.0.0.0/16", "10.77.128.0/17", Name="other")])
    assert problem.startswith("trading_vpc_cidr: 10.77.0.0/16 overlaps with 10.77.128.0/17 of other (vpc-1)")
    (problem,) = problems([vpc("vpc-2", "10.64.0.0/12")])
    assert "of vpc-2;" in problem


def test_a_network_that_was_taken_away_from_a_vpc_is_free() -> None:
    gone = vpc("vpc-1", "10.0.0.0/16", "10.77.0.0/16")
    gone["CidrBlockAssociationSet"][1]["CidrBlockState"]["State"] = "disassociated"
    assert problems([gone]) == []


def test_the_environments_own_vpc_is_no_conflict_whatever_lies_beside_it() -> None:
    own = vpc("vpc-3", "10.77.0.0/16", Name="trading-demo-vpc", **OWN)
    assert problems([own, vpc("vpc-4", "10.77.0.0/16")]) == []


def test_the_environments_own_vpc_keeps_its_network() -> None:
    own = vpc("vpc-3", "10.77.0.0/16", Name="trading-demo-vpc", **OWN)
    (problem,) = problems([own], "10.80.0.0/16")
    assert problem.startswith("trading_vpc_cidr: trading-demo-vpc (vpc-3) was made with 10.77.0.0/16, which AWS cannot")


def test_another_environments_vpc_is_another() -> None:
    other = vpc("vpc-3", "10.77.0.0/16", Name="trading-b-vpc", **{**OWN, "Environment": "b"})
    (problem,) = problems([other])
    assert "of trading-b-vpc (vpc-3)" in problem
