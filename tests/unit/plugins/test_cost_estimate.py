"""The estimate of a deployment's cost.

The estimate for the default deployment has the expected amount. AWS's free allowances are subtracted only once. When
the estimate is above the user's budget, the run ends.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import cost

from .conftest import RunModule

ROOT = Path(__file__).parents[3]
PRICES: dict[str, Any] = yaml.safe_load((ROOT / "files/prices.yml").read_text(encoding="utf-8"))
DEFAULT = cost.Amounts(
    instance_type="c6g.medium",
    instances=1,
    volume_gib=8,
    public_addresses=1,
    custom_metrics=32,
    alarms=14,
    composite_alarms=2,
    dashboards=1,
    logs_gib=1,
    logs_kept_gib=1,
    snapshots_gib=0,
    data_out_gib=10,
    backup_hosts=1,
    backup_gib_per_day=1,
    backup_days=30,
)


def usd(used: cost.Amounts) -> dict[str, Decimal]:
    """Return the cost of each line of the estimate, by the line's name. Lines that cost nothing are left out."""
    return {line.what: line.usd for line in cost.estimate(PRICES, used) if line.usd}


def test_the_default_deployment_costs_the_golden_figures() -> None:
    lines = usd(DEFAULT)
    assert lines == {
        "compute": Decimal("24.82"),
        "gp3 volumes": Decimal("0.64"),
        "public IPv4": Decimal("3.65"),
        "custom metrics": Decimal("6.60"),
        "alarms": Decimal("0.40"),
        "composite alarms": Decimal("1.00"),
        "logs kept": Decimal("0.03"),
        "backup kept": Decimal("0.69"),
        "backup objects": Decimal("0.45"),
    }
    assert lines["compute"] + lines["gp3 volumes"] + lines["public IPv4"] == Decimal("29.11")
    assert cost.total(cost.estimate(PRICES, DEFAULT)) == Decimal("38.28")


@pytest.mark.parametrize(
    ("change", "line", "expected"),
    [
        ({"instances": 3}, "compute", "74.46"),
        ({"custom_metrics": 62}, "custom metrics", "15.60"),
        ({"alarms": 24}, "alarms", "1.40"),
        ({"alarms": 12, "composite_alarms": 0}, "alarms", "0.20"),  # of a fleet of twelve partitions
        ({"dashboards": 4}, "dashboards", "3.00"),
        ({"logs_gib": 7}, "logs taken in", "1.00"),
        ({"snapshots_gib": 8}, "snapshots", "0.40"),
        ({"data_out_gib": 150}, "data out", "4.50"),
        ({"instance_type": "c6g.large"}, "compute", "49.64"),
        ({"backup_gib_per_day": 4}, "backup kept", "2.76"),
        ({"backup_hosts": 2, "backup_days": 90}, "backup kept", "4.14"),
        ({"backup_rpo_seconds": 10}, "backup objects", "2.61"),
        ({"balancers": 1}, "load balancers", "20.81"),
        ({"balancers": 2, "balancer_units": 3}, "load balancers", "59.13"),
    ],
)
def test_what_is_used_beyond_the_allowance_is_paid(change: dict[str, Any], line: str, expected: str) -> None:
    assert usd(DEFAULT._replace(**change))[line] == Decimal(expected)


@pytest.mark.parametrize(("hours", "expected"), [(0.5, "0.07"), (730, "99.28")])
def test_a_generator_is_paid_by_its_hours(hours: float, expected: str) -> None:
    used = DEFAULT._replace(generator_type="c6g.large", generators=2, generator_hours=hours)
    assert usd(used)["load generator"] == Decimal(expected)


def test_the_plan_says_what_the_backup_of_a_busy_host_costs(run_module: RunModule) -> None:
    report = run_module("cost_estimate", **arguments())
    (line,) = [line for line in report["text"] if "orders/s" in line]
    assert line == "backup at 10,000 orders/s around the clock: 65 GiB a day, 46.53 USD a month"
    none = run_module("cost_estimate", **arguments(backup_hosts=0))
    assert "backup" not in " ".join(none["text"])


def test_a_generator_of_unknown_price_is_named_and_stops_nothing() -> None:
    used = DEFAULT._replace(generator_type="c9g.large", generators=1, generator_hours=0.5)
    (line,) = [line for line in cost.estimate(PRICES, used) if line.what == "load generator"]
    assert "c9g.large" in line.how
    assert "price unknown" in line.how
    assert line.usd == 0


def test_every_line_and_the_total_are_in_the_text() -> None:
    text = cost.table(cost.estimate(PRICES, DEFAULT))
    assert len(text) == 14
    assert text[-1].split() == ["total", "USD", "a", "month", "38.28"]
    assert len({len(line) for line in text}) == 1


def arguments(**changes: Any) -> dict[str, Any]:
    """Return the module's arguments for the default deployment. `changes` replaces some of them."""
    return {"prices": PRICES, "region": "us-east-1", **DEFAULT._asdict(), "budget_usd": 40, **changes}


def test_the_module_stops_above_the_budget_only(run_module: RunModule) -> None:
    assert run_module("cost_estimate", **arguments())["total_usd"] == 38.28
    assert run_module("cost_estimate", **arguments(budget_usd=38.28))["changed"] is False
    assert run_module("cost_estimate", **arguments(budget_usd=0, instances=9))["changed"] is False
    refused = run_module("cost_estimate", **arguments(budget_usd=38.27))
    assert refused["failed"] is True
    assert refused["msg"].startswith("A month would cost 38.28 USD, the budget is 38.27")
    assert "-e trading_budget_usd=39" in refused["msg"]


def test_a_type_without_a_price_is_named(run_module: RunModule) -> None:
    report = run_module("cost_estimate", **arguments(instance_type="x9.huge"))
    assert report["msg"].startswith("aws_preflight_prices: there is no price for x9.huge; give it")


def test_another_regions_estimate_says_whose_prices_it_used(run_module: RunModule) -> None:
    assert "eu-west-1 is not" in run_module("cost_estimate", **arguments(region="eu-west-1"))["text"][0]


OFFERS = [
    {"name": "on-demand", "usd_per_hour": 0.04, "source": "Price List API, 2026-11-01"},
    {"name": "Spot", "usd_per_hour": None, "source": "EC2 API"},
    {"name": "1-year reserved", "usd_per_hour": 0.0214, "source": "files/prices.yml, 2026-11"},
]


def test_ways_to_pay_are_side_by_side_and_the_first_counts(run_module: RunModule) -> None:
    report = run_module("cost_estimate", **arguments(offers=OFFERS, instances=2, budget_usd=0))
    assert report["lines"][0]["usd"] == 58.4
    on_demand, spot, reserved = (" ".join(line.split()) for line in report["text"][-3:])
    assert on_demand == f"on-demand 0.04 USD/h {report['total_usd']} USD a month (Price List API, 2026-11-01)"
    assert spot == "Spot not told by EC2 API"
    assert reserved == f"1-year reserved 0.0214 USD/h {report['total_usd'] - 58.4 + 31.24:.2f} USD a month " + (
        "(files/prices.yml, 2026-11)"
    )


def test_a_price_that_nobody_tells_is_asked_for(run_module: RunModule) -> None:
    unknown = [{"name": "on-demand", "usd_per_hour": None, "source": "files/prices.yml, 2026-11"}]
    report = run_module("cost_estimate", **arguments(instance_type="x9.huge", offers=unknown))
    assert report["msg"].startswith("aws_preflight_prices: there is no price for x9.huge; give it")


def test_the_estimate_counts_the_metrics_of_the_contract() -> None:
    contract = yaml.safe_load((ROOT / "files/metrics.yml").read_text(encoding="utf-8"))
    assert len(contract["cloudwatch"]["metrics"]) + len(contract["agent"]["metrics"]) == DEFAULT.custom_metrics
