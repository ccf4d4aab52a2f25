"""What a deployment costs, and what the user could save.

The module reads how busy the CPUs are, and it reads AWS's bill. Stubs answer for AWS.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.lowlatency.trading.plugins.filter.costs import cost_suggestions, cost_table
from ansible_collections.lowlatency.trading.plugins.module_utils.aws.savings import vcpus
from ansible_collections.lowlatency.trading.plugins.modules import cost_actual_info

from .conftest import Account, RunModule
from .stubs import stubbed

PRICES = {"c6g.medium": 0.034, "c6g.large": 0.068, "c6g.xlarge": 0.136, "m7g.medium": 0.04}
OFFERS = [
    {"name": "on-demand", "usd_per_hour": 0.068, "source": ""},
    {"name": "Spot", "usd_per_hour": 0.028, "source": ""},
    {"name": "1-year reserved", "usd_per_hour": 0.0428, "source": ""},
]
ABOUT: dict[str, Any] = {
    "instance_type": "c6g.large",
    "prices": PRICES,
    "offers": OFFERS,
    "spot": False,
    "scheduled": False,
    "hours": 730,
}
LIMITS = {"idle_percent": 5, "busy_percent": 60, "hours_a_week": 168}


def use(highest: float, hours: int = 336) -> dict[str, Any]:
    return {"hours": hours, "average": highest / 4, "highest": highest}


def suggested(uses: dict[str, dict[str, Any]], limits: dict[str, Any] = LIMITS, **about: Any) -> dict[str, float]:
    """Return the suggestions to save money, in their order: the name of each, and its saving in USD."""
    return {one["name"]: one["usd"] for one in cost_suggestions(uses, {**ABOUT, **about}, limits)}


PAYING = {"Spot": 29.2, "a reservation": 18.4}


@pytest.mark.parametrize(
    ("highest", "found"),
    [
        (50.0, PAYING),
        (29.0, {**PAYING, "c6g.medium instead of c6g.large": 24.82}),
        (61.0, {**PAYING, "c6g.xlarge instead of c6g.large": 0.0}),
        (4.9, {"demo-1 is idle": 49.64, **PAYING, "c6g.medium instead of c6g.large": 24.82}),
    ],
)
def test_a_type_is_named_by_the_busiest_hour_and_an_idle_host_by_its_name(
    highest: float, found: dict[str, float]
) -> None:
    assert suggested({"demo-1": use(highest)}) == found


def test_the_busiest_host_decides_and_all_hosts_save() -> None:
    assert suggested({"demo-1": use(10), "demo-2": use(29)})["c6g.medium instead of c6g.large"] == 49.64
    assert "c6g.medium instead of c6g.large" not in suggested({"demo-1": use(10), "demo-2": use(50)})


def test_a_host_that_no_type_of_the_family_is_enough_for_is_said() -> None:
    (one,) = [
        one
        for one in cost_suggestions({"a": use(100)}, {**ABOUT, "instance_type": "c6g.xlarge"}, LIMITS)
        if "small" in one["name"]
    ]
    assert one["name"] == "c6g.xlarge is too small"
    assert one["usd"] == 0


def test_without_samples_nothing_is_said_of_the_host() -> None:
    assert suggested({"demo-1": use(0, hours=0)}) == PAYING


def test_hours_save_what_the_host_is_off() -> None:
    found = suggested({"demo-1": use(50)}, {**LIMITS, "hours_a_week": 60})
    assert found["60 hours a week"] == pytest.approx(0.068 * 730 * 108 / 168, abs=0.01)


@pytest.mark.parametrize("taken", [{"spot": True}, {"scheduled": True}])
def test_what_is_taken_already_is_not_suggested(taken: dict[str, bool]) -> None:
    assert suggested({"demo-1": use(50)}, {**LIMITS, "hours_a_week": 60}, **taken) == {}


def test_prices_that_nobody_tells_suggest_nothing() -> None:
    untold = [{**one, "usd_per_hour": None} for one in OFFERS]
    assert suggested({"demo-1": use(50)}, offers=untold) == {}
    dearer = [OFFERS[0], {**OFFERS[1], "usd_per_hour": 0.09}]
    assert suggested({"demo-1": use(50)}, offers=dearer) == {}


@pytest.mark.parametrize(
    "limits", [{"idle_percent": 60}, {"idle_percent": 0}, {"busy_percent": 101}, {"hours_a_week": 169}], ids=str
)
def test_limits_that_are_none_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(AnsibleFilterError, match="aws_cost_idle_percent"):
        suggested({}, {**LIMITS, **limits})


@pytest.mark.parametrize(
    ("name", "count"), [("c6g.medium", 1), ("c6g.large", 2), ("c5.4xlarge", 16), ("c6g.metal", 0), ("odd", 0)]
)
def test_vcpus_are_told_by_the_size(name: str, count: int) -> None:
    assert vcpus(name) == count


def test_the_table_fits_and_puts_the_bill_beside_the_estimate() -> None:
    uses = {"demo-1": use(4), "demo-2": use(0, hours=0)}
    bill = {"usd": 17.5, "services": {"EC2": 17.5}, "until": "2026-11-16", "share_of_month": 0.5}
    table = cost_table(cost_suggestions(uses, ABOUT, LIMITS), uses, bill, 36.74)
    assert max(map(len, table)) <= 70
    text = "\n".join(table)
    assert "actual of this month until 2026-11-16" in text
    assert text.index("17.50") < text.index("18.37") < text.index("demo-1 is idle")
    assert "demo-2: CloudWatch has no sample of its CPUs" in text
    unbilled = " ".join(cost_table([], uses, {**bill, "usd": 0.0, "services": {}}, 36.74))
    assert "are both cost allocation tags" in " ".join(unbilled.split())
    assert "actual: not asked" in "\n".join(cost_table([], uses, {"problem": "not asked"}, 36.74))


def test_the_use_of_each_host_is_read_hour_by_hour(account: Account, run_module: RunModule) -> None:
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    samples = [
        {
            "MetricName": "CPUUtilization",
            "Dimensions": [{"Name": "InstanceId", "Value": "i-1"}],
            "Timestamp": begin + timedelta(hours=hour, minutes=minute),
            "Value": value,
        }
        for hour, values in enumerate([(10.0, 20.0), (40.0, 40.0)])
        for minute, value in zip((10, 20), values, strict=True)
    ]
    account("cloudwatch").put_metric_data(Namespace="AWS/EC2", MetricData=samples)
    given = {"region": "us-east-1", "instances": {"demo-1": "i-1", "demo-2": "i-2"}}
    assert run_module("cpu_use_info", **given)["uses"] == {
        "demo-1": {"hours": 2, "average": 27.5, "highest": 40.0},
        "demo-2": {"hours": 0, "average": 0.0, "highest": 0.0},
    }
    assert run_module("cpu_use_info", region="us-east-1", instances={})["uses"] == {}
    assert "days: 61 is not 1 to 60" in run_module("cpu_use_info", **given, days=61)["msg"]


def page(**services: str) -> dict[str, Any]:
    groups = [
        {"Keys": [name], "Metrics": {"UnblendedCost": {"Amount": usd, "Unit": "USD"}}} for name, usd in services.items()
    ]
    return {"ResultsByTime": [{"Groups": groups}]}


def test_the_bill_is_asked_for_by_tag_and_service_page_by_page(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    class Mid(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2026, 11, 16, 8, tzinfo=tz)

    monkeypatch.setattr(cost_actual_info, "datetime", Mid)
    asked = {
        "TimePeriod": {"Start": "2026-11-01", "End": "2026-11-16"},
        "Granularity": "MONTHLY",
        "Metrics": ["UnblendedCost"],
        "Filter": {
            "And": [
                {"Tags": {"Key": "Project", "Values": ["lowlatency-trading"]}},
                {"Tags": {"Key": "Environment", "Values": ["demo"]}},
                {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}},
            ]
        },
        "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}],
    }
    with stubbed(monkeypatch, "ce") as stubs:
        stubs["ce"].add_response("get_cost_and_usage", {**page(VPC="1.5"), "NextPageToken": "t"}, asked)
        stubs["ce"].add_response("get_cost_and_usage", page(EC2="11.417"), {**asked, "NextPageToken": "t"})
        report = run_module("cost_actual_info", region="eu-central-1", environment="demo")
    assert (report["usd"], report["until"], report["share_of_month"]) == (12.92, "2026-11-16", 0.5)
    assert list(report["services"].items()) == [("EC2", 11.42), ("VPC", 1.5)]


def test_who_may_not_see_the_bill_is_told_so(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "ce") as stubs:
        stubs["ce"].add_client_error("get_cost_and_usage", "AccessDeniedException", "not authorized")
        report = run_module("cost_actual_info", region="us-east-1", environment="demo")
    assert "the credentials lack this permission: see files/iam" in report["msg"]


def test_on_the_first_of_a_month_the_month_before_counts() -> None:
    assert cost_actual_info.span(date(2026, 12, 1)) == (date(2026, 11, 1), date(2026, 12, 1))
    assert cost_actual_info.span(date(2026, 12, 2)) == (date(2026, 12, 1), date(2026, 12, 2))
