"""The estimate of the default deployment is the golden one, allowances are used once, and a budget stops."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.module_utils import cost

from tests.unit.plugins.conftest import run_module  # noqa: F401  the fixture

from .templates import ROOT, render

PRICES: dict[str, Any] = yaml.safe_load((ROOT / "files/prices.yml").read_text(encoding="utf-8"))
DEFAULT = cost.Amounts(
    instance_type="c6g.medium",
    instances=1,
    volume_gib=8,
    public_addresses=1,
    custom_metrics=10,
    alarms=12,
    composite_alarms=1,
    dashboards=1,
    logs_gib=1,
    logs_kept_gib=1,
    snapshots_gib=0,
    data_out_gib=10,
)


def usd(used: cost.Amounts) -> dict[str, Decimal]:
    """Return the lines that cost something."""
    return {line.what: line.usd for line in cost.estimate(PRICES, used) if line.usd}


def test_the_default_deployment_costs_the_golden_figures() -> None:
    lines = usd(DEFAULT)
    assert lines == {
        "compute": Decimal("24.82"),
        "gp3 volumes": Decimal("0.64"),
        "public IPv4": Decimal("3.65"),
        "alarms": Decimal("0.20"),
        "composite alarms": Decimal("0.50"),
        "logs kept": Decimal("0.03"),
    }
    assert lines["compute"] + lines["gp3 volumes"] + lines["public IPv4"] == Decimal("29.11")
    assert cost.total(cost.estimate(PRICES, DEFAULT)) == Decimal("29.84")


@pytest.mark.parametrize(
    ("change", "line", "expected"),
    [
        ({"instances": 3}, "compute", "74.46"),
        ({"custom_metrics": 20}, "custom metrics", "3.00"),
        ({"alarms": 24}, "alarms", "1.40"),
        ({"dashboards": 4}, "dashboards", "3.00"),
        ({"logs_gib": 7}, "logs taken in", "1.00"),
        ({"snapshots_gib": 8}, "snapshots", "0.40"),
        ({"data_out_gib": 150}, "data out", "4.50"),
        ({"instance_type": "c6g.large"}, "compute", "49.64"),
    ],
)
def test_what_is_used_beyond_the_allowance_is_paid(change: dict[str, Any], line: str, expected: str) -> None:
    assert usd(DEFAULT._replace(**change))[line] == Decimal(expected)


def test_every_line_and_the_total_are_in_the_text() -> None:
    text = cost.table(cost.estimate(PRICES, DEFAULT))
    assert len(text) == 12
    assert text[-1].split() == ["total", "USD", "a", "month", "29.84"]
    assert len({len(line) for line in text}) == 1


def arguments(**changes: Any) -> dict[str, Any]:
    """Return the module's arguments for the default deployment."""
    return {"prices": PRICES, "region": "us-east-1", **DEFAULT._asdict(), "budget_usd": 40, **changes}


RunModule = Callable[..., dict[str, Any]]


def test_the_module_stops_above_the_budget_only(run_module: RunModule) -> None:  # noqa: F811
    assert run_module("cost_estimate", **arguments())["total_usd"] == 29.84
    assert run_module("cost_estimate", **arguments(budget_usd=29.84))["changed"] is False
    assert run_module("cost_estimate", **arguments(budget_usd=0, instances=9))["changed"] is False
    refused = run_module("cost_estimate", **arguments(budget_usd=29.83))
    assert refused["failed"] is True
    assert refused["msg"].startswith("A month would cost 29.84 USD, the budget is 29.83")
    assert "aws_monthly_budget_usd" in refused["msg"]


def test_a_type_without_a_price_is_named(run_module: RunModule) -> None:  # noqa: F811
    report = run_module("cost_estimate", **arguments(instance_type="x9.huge"))
    assert report["msg"].startswith("aws_preflight_prices: there is no price for x9.huge; give it")


def test_another_regions_estimate_says_whose_prices_it_used(run_module: RunModule) -> None:  # noqa: F811
    assert "eu-west-1 is not" in run_module("cost_estimate", **arguments(region="eu-west-1"))["text"][0]


def test_the_estimate_counts_the_alarms_that_are_made() -> None:
    preflight = yaml.safe_load((ROOT / "roles/aws_preflight/vars/main.yml").read_text(encoding="utf-8"))
    made = [alarm for alarm in render("alarms.yml.j2") if "trading-demo-1/" in alarm["AlarmName"]]
    assert len([alarm for alarm in made if "AlarmRule" not in alarm]) == preflight["__aws_preflight_alarms_per_host"]
    assert len([alarm for alarm in made if "AlarmRule" in alarm]) == 1
