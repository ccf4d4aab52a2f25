"""The module instance_type_info asks EC2 about an instance type: its properties, and the zones that offer it."""

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
    """The module lists no Local Zones and no Wavelength Zones, although they offer the instance type.

    Their names are in the EC2 user guide, in "Local Zones" and "Wavelength Zones". In alphabetical order, they come
    before us-east-1a.
    """
    zones = ["us-east-1-bos-1a", "us-east-1-wl1-bos-wlz-1", "us-east-1b", "us-east-1a"]
    kind = {"ProcessorInfo": {"SupportedArchitectures": ["arm64"]}, "VCpuInfo": {"DefaultVCpus": 1}}
    with stubbed(monkeypatch, "ec2", "freetier") as stubs:
        ec2 = stubs["ec2"]
        stubs["freetier"].add_client_error("get_account_plan_state", "AccessDeniedException")
        offerings = [{"InstanceType": "c6g.medium", "Location": zone} for zone in zones]
        ec2.add_response("describe_instance_type_offerings", {"InstanceTypeOfferings": offerings})
        found = {**kind, "InstanceType": "c6g.medium", "MemoryInfo": {"SizeInMiB": 2048}}
        ec2.add_response("describe_instance_types", {"InstanceTypes": [found]})
        report = run_module("instance_type_info", region="us-east-1", instance_type="c6g.medium")
    assert report["availability_zones"] == ["us-east-1a", "us-east-1b"]


@pytest.mark.parametrize(("plan", "refused"), [("FREE", True), ("PAID", False)])
def test_an_account_on_the_free_plan_is_told_what_it_may_launch(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch, plan: str, refused: bool
) -> None:
    """An AWS account on the free plan may launch only some instance types.

    The test's answers follow botocore's models of AWS Free Tier (2023-09-07) and of EC2. No emulator has the service
    AWS Free Tier.
    """
    processor = {"SupportedArchitectures": ["arm64"]}
    size = {"VCpuInfo": {"DefaultVCpus": 1}, "MemoryInfo": {"SizeInMiB": 2048}}
    found = {"InstanceType": "c6g.medium", "FreeTierEligible": False, "ProcessorInfo": processor, **size}
    state = {"accountId": "123456789012", "accountPlanType": plan, "accountPlanStatus": "ACTIVE"}
    with stubbed(monkeypatch, "ec2", "freetier") as stubs:
        ec2 = stubs["ec2"]
        offering = {"InstanceType": "c6g.medium", "Location": "us-east-1a"}
        ec2.add_response("describe_instance_type_offerings", {"InstanceTypeOfferings": [offering]})
        ec2.add_response("describe_instance_types", {"InstanceTypes": [found]})
        stubs["freetier"].add_response("get_account_plan_state", state)
        if refused:
            free = [{"InstanceType": name} for name in ("t4g.small", "t4g.micro")]
            ec2.add_response("describe_instance_types", {"InstanceTypes": free})
        report = run_module("instance_type_info", region="us-east-1", instance_type="c6g.medium")
    assert report.get("failed", False) is refused
    if refused:
        assert "free plan, which does not launch c6g.medium" in report["msg"]
        assert report["msg"].endswith("take one of: t4g.micro, t4g.small")
