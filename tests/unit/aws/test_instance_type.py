"""What an instance type is and where it is offered, from EC2's own catalogue."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Account, RunModule
from .stubs import stubbed


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


def test_local_and_wavelength_zones_are_left_out(run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names as the EC2 user guide has them under "Local Zones" and "Wavelength Zones"; they sort before us-east-1a."""
    zones = ["us-east-1-bos-1a", "us-east-1-wl1-bos-wlz-1", "us-east-1b", "us-east-1a"]
    kind = {"ProcessorInfo": {"SupportedArchitectures": ["arm64"]}, "VCpuInfo": {"DefaultVCpus": 1}}
    with stubbed(monkeypatch, "ec2") as stubs:
        ec2 = stubs["ec2"]
        offerings = [{"InstanceType": "c6g.medium", "Location": zone} for zone in zones]
        ec2.add_response("describe_instance_type_offerings", {"InstanceTypeOfferings": offerings})
        ec2.add_response("describe_instance_types", {"InstanceTypes": [{**kind, "MemoryInfo": {"SizeInMiB": 2048}}]})
        report = run_module("instance_type_info", region="us-east-1", instance_type="c6g.medium")
    assert report["availability_zones"] == ["us-east-1a", "us-east-1b"]
