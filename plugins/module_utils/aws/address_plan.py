# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A function that checks whether a VPC's network overlaps another VPC of the AWS account, from DescribeVpcs's answer.

AWS allows VPCs that overlap, but two such VPCs can never be connected. The network of a VPC cannot be changed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def _cidrs(vpc: Mapping[str, Any]) -> list[str]:
    associated = [
        one["CidrBlock"]
        for one in vpc.get("CidrBlockAssociationSet", [])
        if one["CidrBlockState"]["State"] in ("associating", "associated")
    ]
    return associated or [vpc["CidrBlock"]]


def _name(vpc: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    return f"{tags['Name']} ({vpc['VpcId']})" if tags.get("Name") else str(vpc["VpcId"])


def problems(vpcs: Sequence[Mapping[str, Any]], own_tags: Mapping[str, str], vpc_cidr: str) -> Iterator[str]:
    """Yield why the environment cannot use the network ``vpc_cidr`` in this region.

    ``own_tags`` are the tags by which the environment's own VPC is recognised.
    """
    others = []
    for vpc in vpcs:
        tags = {tag["Key"]: tag["Value"] for tag in vpc.get("Tags", [])}
        name, cidrs = _name(vpc, tags), _cidrs(vpc)
        if own_tags.items() <= tags.items():
            if vpc_cidr not in cidrs:
                yield (
                    f"trading_vpc_cidr: {name} was made with {cidrs[0]}, which AWS cannot change to {vpc_cidr}; "
                    f"keep {cidrs[0]}, or destroy the environment first"
                )
            return
        others.append((name, cidrs))
    wanted = ipaddress.IPv4Network(vpc_cidr)
    for name, cidrs in others:
        for cidr in cidrs:
            if wanted.overlaps(ipaddress.IPv4Network(cidr)):
                yield (
                    f"trading_vpc_cidr: {vpc_cidr} overlaps with {cidr} of {name}; the two could never be connected: "
                    "choose another, and trading_subnet_cidr inside it"
                )
