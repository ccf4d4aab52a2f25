"""What an instance type is and where it is offered, from EC2's own catalogue."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Account, RunModule


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("c6g.medium", {"architecture": "arm64", "vcpus": 1, "cores": 1, "memory_mib": 2048}),
        ("c6i.xlarge", {"architecture": "x86_64", "vcpus": 4, "cores": 2, "memory_mib": 8192}),
    ],
)
def test_a_type_is_described(account: Account, run_module: RunModule, name: str, expected: dict[str, Any]) -> None:
    report = run_module("instance_type_info", region="us-east-1", instance_type=name)
    assert {key: report[key] for key in expected} == expected
    offers = account("ec2").describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [name]}]
    )["InstanceTypeOfferings"]
    assert report["availability_zones"] == sorted(offer["Location"] for offer in offers)
    assert "us-east-1a" in report["availability_zones"]


@pytest.mark.usefixtures("account")
def test_a_type_that_is_not_offered_is_said_with_what_to_do(run_module: RunModule) -> None:
    report = run_module("instance_type_info", region="us-east-1", instance_type="c0.none")
    assert report["failed"] is True
    assert report["msg"].startswith("trading_instance_type: c0.none is not offered in us-east-1; choose another")
