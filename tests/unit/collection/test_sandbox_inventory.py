"""The variables in inventory/sandbox fit each other."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def variables() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "inventory/sandbox/group_vars/all.yml").read_text(encoding="utf-8"))
    return found


def test_the_controller_reaches_a_host_in_whatever_zone(variables: dict[str, Any]) -> None:
    # It reaches each subnet from that subnet's first address. A host that is rebuilt in another zone is in another
    # subnet of the VPC.
    vpc = IPv4Network(variables["trading_vpc_cidr"])
    assert vpc.subnet_of(IPv4Network(variables["trading_operator_cidr"]))
    assert any(vpc.subnet_of(IPv4Network(each)) for each in variables["trading_client_cidrs"])
