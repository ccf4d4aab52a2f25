"""The module price_info returns prices, each with its source and date.

The user's own price has priority. Without such a price, the module asks AWS. When AWS gives no price, the module takes
the price in a table.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import offers
from botocore.stub import ANY

from .conftest import RunModule
from .stubs import stubbed

ROOT = Path(__file__).parents[3]
TABLE: dict[str, Any] = yaml.safe_load((ROOT / "files/prices.yml").read_text(encoding="utf-8"))
FILTERS = [
    {"Type": "TERM_MATCH", "Field": field, "Value": value}
    for field, value in {
        "instanceType": "c6g.medium",
        "regionCode": "us-east-1",
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "tenancy": "Shared",
        "capacitystatus": "Used",
    }.items()
]


def term(usd: str, unit: str = "Hrs", **attributes: str) -> dict[str, Any]:
    return {
        "effectiveDate": "2026-10-01T00:00:00Z",
        "priceDimensions": {"x": {"unit": unit, "pricePerUnit": {"USD": usd}}},
        "termAttributes": attributes,
    }


def product() -> str:
    """Return an entry of AWS's price list, as JSON. It has only the fields that the module reads."""
    year = {"LeaseContractLength": "1yr", "OfferingClass": "standard"}
    return json.dumps(
        {
            "product": {"attributes": {"instanceType": "c6g.medium"}},
            "terms": {
                "OnDemand": {"a": term("0.0350000000")},
                "Reserved": {
                    "b": term("0.0220000000", **year, PurchaseOption="No Upfront"),
                    "c": term("188", "Quantity", **year, PurchaseOption="All Upfront"),
                    "d": term("0.0150000000", **{**year, "LeaseContractLength": "3yr"}, PurchaseOption="No Upfront"),
                },
            },
        }
    )


def spot(zone: str, usd: str, day: int) -> dict[str, Any]:
    when = datetime.datetime(2026, 11, day, tzinfo=datetime.UTC)
    return {"AvailabilityZone": zone, "InstanceType": "c6g.medium", "SpotPrice": usd, "Timestamp": when}


def by_name(report: dict[str, Any]) -> dict[str, tuple[float | None, str]]:
    assert [offer["name"] for offer in report["offers"]] == ["on-demand", "Spot", "1-year reserved"]
    return {offer["name"]: (offer["usd_per_hour"], offer["source"]) for offer in report["offers"]}


def ask(
    monkeypatch: pytest.MonkeyPatch,
    run_module: RunModule,
    price_list: list[str] | None,
    history: list[dict[str, Any]] | None,
    **arguments: Any,
) -> dict[str, tuple[float | None, str]]:
    """Run the module with these answers of AWS. Return the price and the source of each offer, by the offer's name.

    An answer of None means that AWS refuses the request.
    """
    with stubbed(monkeypatch, "pricing", "ec2") as stubs:
        asked = {"ServiceCode": "AmazonEC2", "Filters": FILTERS}
        if price_list is None:
            stubs["pricing"].add_client_error("get_products", "AccessDeniedException", expected_params=asked)
        else:
            stubs["pricing"].add_response("get_products", {"PriceList": price_list}, asked)
        asked = {"InstanceTypes": ["c6g.medium"], "ProductDescriptions": ["Linux/UNIX"], "StartTime": ANY}
        operation = "describe_spot_price_history"
        if history is None:
            stubs["ec2"].add_client_error(operation, "UnauthorizedOperation", expected_params=asked)
        else:
            stubs["ec2"].add_response(operation, {"SpotPriceHistory": history}, asked)
        report = run_module("price_info", region="us-east-1", instance_type="c6g.medium", prices=TABLE, **arguments)
    assert report.get("changed") is False, report
    return by_name(report)


def test_aws_is_asked_first(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    history = [spot("us-east-1a", "0.0140", 20), spot("us-east-1b", "0.0120", 3), spot("us-east-1b", "0.0150", 21)]
    assert ask(monkeypatch, run_module, [product()], history) == {
        "on-demand": (0.035, "Price List API, 2026-10-01"),
        "Spot": (0.014, "EC2 API, us-east-1a, since 2026-11-20"),
        "1-year reserved": (0.022, "Price List API, 2026-10-01"),
    }


def test_the_table_says_what_aws_does_not(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    assert ask(monkeypatch, run_module, None, None) == {
        "on-demand": (0.034, "files/prices.yml, 2026-11"),
        "Spot": (None, "EC2 API"),
        "1-year reserved": (0.0214, "files/prices.yml, 2026-11"),
    }
    assert ask(monkeypatch, run_module, [], [])["on-demand"][0] == 0.034


def test_prices_of_ones_own_win(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    own = {"instance_per_hour": {"c6g.medium": 0.03}}
    found = ask(monkeypatch, run_module, [product()], [], own_prices=own)
    assert found["on-demand"] == (0.03, "aws_preflight_prices")
    assert found["1-year reserved"] == (0.022, "Price List API, 2026-10-01")


def test_a_type_that_nobody_knows_has_no_price() -> None:
    found = offers.choose("x9.huge", {}, None, TABLE, {})
    assert [offer["usd_per_hour"] for offer in found] == [None, None, None]


def test_every_type_of_the_table_has_both_prices_and_a_reservation_saves() -> None:
    assert set(TABLE["instance_per_hour"]) == set(TABLE["reserved_1_year_per_hour"])
    for name, price in TABLE["reserved_1_year_per_hour"].items():
        assert price < TABLE["instance_per_hour"][name]
