"""The module service_quota_info reads how much of each quota is free.

When too little is free, the module fails and names the variable to change.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import quotas
from botocore.stub import Stubber

from .conftest import RunModule
from .stubs import stubbed


def instance(instance_type: str, state: str = "running", cores: int = 1, **more: Any) -> dict[str, Any]:
    options = {"CoreCount": cores, "ThreadsPerCore": 1}
    return {"InstanceType": instance_type, "State": {"Name": state}, "CpuOptions": options, **more}


RUNNING = [
    instance("c6g.medium"),
    instance("m6i.large", cores=2),
    instance("t4g.small", state="pending"),
    instance("c6g.medium", state="stopped"),
    instance("c6g.medium", InstanceLifecycle="spot"),
    instance("g5.xlarge", cores=2),
]


def limit(stub: Stubber, code: str, value: float | None) -> None:
    asked = {"ServiceCode": "ec2" if code in ("L-1216C47A", "L-34B43A08", "L-0263D0A3") else "vpc", "QuotaCode": code}
    if value is None:
        stub.add_client_error("get_service_quota", "NoSuchResourceException", expected_params=asked)
    else:
        stub.add_response("get_service_quota", {"Quota": {"QuotaCode": code, "Value": value}}, asked)


def test_running_standard_vcpus_count_on_demand_and_spot_apart() -> None:
    assert quotas.vcpus_in_use(RUNNING, spot=False) == 4
    assert quotas.vcpus_in_use(RUNNING, spot=True) == 1


@pytest.mark.parametrize("name", ["c6g.medium", "t4g.small", "m7i.large", "r8g.large", "i4i.large", "z1d.large"])
def test_a_standard_family_counts(name: str) -> None:
    assert quotas.is_standard(name)


@pytest.mark.parametrize(
    "name", ["g5.xlarge", "p5.48xlarge", "inf2.xlarge", "trn1.2xlarge", "hpc7g.4xlarge", "mac2.metal", "x2gd.medium"]
)
def test_another_family_does_not(name: str) -> None:
    assert not quotas.is_standard(name)


def test_what_is_left_is_told(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    needed = {"vcpus": 1, "spot_vcpus": 1, "elastic_ips": 0, "vpcs": 1, "internet_gateways": 1}
    with stubbed(monkeypatch, "service-quotas", "ec2") as stubs:
        for code, value in (
            ("L-1216C47A", 5.0),
            ("L-34B43A08", 5.0),
            ("L-0263D0A3", 5.0),
            ("L-F678F1CE", None),
            ("L-A4707A72", 5.0),
        ):
            limit(stubs["service-quotas"], code, value)
        ec2 = stubs["ec2"]
        for _quota in ("vcpus", "spot_vcpus"):
            ec2.add_response("describe_instances", {"Reservations": [{"Instances": RUNNING}]}, {})
        ec2.add_response("describe_addresses", {"Addresses": [{}, {}]}, {})
        ec2.add_response("describe_vpcs", {"Vpcs": [{}] * 9}, {})
        ec2.add_response("describe_internet_gateways", {"InternetGateways": [{}] * 4}, {})
        report = run_module("service_quota_info", region="us-east-1", needed=needed)
    assert report["changed"] is False
    told = {row["name"]: (row["limit"], row["used"], row["left"]) for row in report["quotas"]}
    assert told == {
        "vcpus": (5.0, 4, 1),
        "spot_vcpus": (5.0, 1, 4),
        "elastic_ips": (5.0, 2, 3),
        "vpcs": (None, 9, None),
        "internet_gateways": (5.0, 4, 1),
    }


def test_a_type_outside_of_the_standard_families_needs_none_of_their_vcpus(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    with stubbed(monkeypatch, "service-quotas", "ec2") as stubs:
        limit(stubs["service-quotas"], "L-F678F1CE", 5.0)
        stubs["ec2"].add_response("describe_vpcs", {"Vpcs": []}, {})
        needed = {"vcpus": 4, "vpcs": 1}
        report = run_module("service_quota_info", region="us-east-1", needed=needed, instance_type="g5.xlarge")
    assert [row["name"] for row in report["quotas"]] == ["vpcs"]


def test_too_little_left_is_refused_by_variable_and_code(
    monkeypatch: pytest.MonkeyPatch,
    run_module: RunModule,
) -> None:
    with stubbed(monkeypatch, "service-quotas", "ec2") as stubs:
        limit(stubs["service-quotas"], "L-1216C47A", 5.0)
        stubs["ec2"].add_response("describe_instances", {"Reservations": [{"Instances": RUNNING}]}, {})
        report = run_module("service_quota_info", region="us-east-1", needed={"vcpus": 2})
    assert report["failed"] is True
    assert report["msg"].startswith("trading_instance_count, trading_generator_host: 2 more vCPUs of running standard")
    for words in ("account's 5 in this region 4 are used", "L-1216C47A"):
        assert words in report["msg"]


def test_a_caller_who_may_not_read_quotas_is_not_stopped(
    monkeypatch: pytest.MonkeyPatch,
    run_module: RunModule,
) -> None:
    with stubbed(monkeypatch, "service-quotas", "ec2") as stubs:
        stubs["service-quotas"].add_client_error("get_service_quota", "AccessDeniedException")
        stubs["ec2"].add_response("describe_vpcs", {"Vpcs": []}, {})
        report = run_module("service_quota_info", region="us-east-1", needed={"vpcs": 1})
    assert report["quotas"][0]["limit"] is None


def test_an_outage_is_an_error(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "service-quotas", "ec2") as stubs:
        stubs["service-quotas"].add_client_error("get_service_quota", "ServiceException", "down")
        report = run_module("service_quota_info", region="us-east-1", needed={"vpcs": 1})
    assert report["msg"].startswith("Cannot read the quotas in region us-east-1: down")


def test_a_quota_that_there_is_not_is_named(run_module: RunModule) -> None:
    report = run_module("service_quota_info", region="us-east-1", needed={"vcpu": 1})
    assert report["msg"].startswith("needed: there is no quota vcpu; there are vcpus, ")
