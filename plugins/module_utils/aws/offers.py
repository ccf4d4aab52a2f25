# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that choose an instance type's prices on demand, on Spot and reserved, with the source of each price.

The module price_info sends the requests and passes the answers to these functions. Sources: Price List Query API
(GetProducts) of AmazonEC2, EC2 API reference (DescribeSpotPriceHistory).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

# A price with its source: {"name": …, "usd_per_hour": float or None, "source": …}. None means an unknown price.
Offer = dict[str, Any]

ON_DEMAND, SPOT, RESERVED = "on-demand", "Spot", "1-year reserved"
_TABLE_KEYS = {ON_DEMAND: "instance_per_hour", RESERVED: "reserved_1_year_per_hour"}
# The attributes of a product: Linux without paid licences, on shared hardware, outside capacity reservations.
_PRODUCT = {"operatingSystem": "Linux", "preInstalledSw": "NA", "tenancy": "Shared", "capacitystatus": "Used"}
_RESERVED_TERM = {"LeaseContractLength": "1yr", "OfferingClass": "standard", "PurchaseOption": "No Upfront"}


def product_filters(instance_type: str, region: str) -> list[dict[str, str]]:
    """Return filters for GetProducts that select exactly one product: one instance type in one region."""
    fields = {"instanceType": instance_type, "regionCode": region, **_PRODUCT}
    return [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in fields.items()]


def listed(price_list: Sequence[str]) -> dict[str, tuple[float, str]]:
    """Return a dictionary: offer → (USD an hour, date), from the JSON documents that GetProducts returned."""
    found: dict[str, tuple[float, str]] = {}
    for text in price_list:
        terms = json.loads(text)["terms"]
        for term in terms.get("OnDemand", {}).values():
            _add(found, ON_DEMAND, term)
        for term in terms.get("Reserved", {}).values():
            if term.get("termAttributes") == _RESERVED_TERM:
                _add(found, RESERVED, term)
    return found


def _add(found: dict[str, tuple[float, str]], name: str, term: Mapping[str, Any]) -> None:
    for price in term["priceDimensions"].values():
        if price["unit"] == "Hrs":
            found[name] = (float(price["pricePerUnit"]["USD"]), term["effectiveDate"][:10])


def lowest_spot(history: Sequence[Mapping[str, Any]]) -> tuple[float, str] | None:
    """Return (USD an hour, "zone, since date") of the zone with the lowest Spot price now, or None without prices.

    ``history`` is the list that DescribeSpotPriceHistory returns.
    """
    newest: dict[str, Mapping[str, Any]] = {}
    for entry in history:
        zone = entry["AvailabilityZone"]
        if zone not in newest or entry["Timestamp"] > newest[zone]["Timestamp"]:
            newest[zone] = entry
    if not newest:
        return None
    cheapest = min(newest.values(), key=lambda entry: (float(entry["SpotPrice"]), entry["AvailabilityZone"]))
    since = f"{cheapest['Timestamp']:%Y-%m-%d}"
    return float(cheapest["SpotPrice"]), f"{cheapest['AvailabilityZone']}, since {since}"


def choose(
    instance_type: str,
    told: Mapping[str, tuple[float, str]],
    spot: tuple[float, str] | None,
    table: Mapping[str, Any],
    own: Mapping[str, Any],
) -> list[Offer]:
    """Return the offers on-demand, Spot and 1-year reserved, each with its price and source. An unknown price is None.

    The prices on-demand and reserved are the user's own (``own``). Where the user gives none, they are AWS's answer
    (``told``). Without an answer they are the prices in ``table``.
    """
    offers = []
    for name in (ON_DEMAND, RESERVED):
        key = _TABLE_KEYS[name]
        if instance_type in own.get(key, {}):
            price, source = own[key][instance_type], "aws_preflight_prices"
        elif name in told:
            price, source = told[name][0], f"Price List API, {told[name][1]}"
        else:
            price, source = table.get(key, {}).get(instance_type), f"files/prices.yml, {table['as_of']}"
        offers.append({"name": name, "usd_per_hour": price, "source": source})
    price, source = spot or (None, "EC2 API")
    offers.insert(1, {"name": SPOT, "usd_per_hour": price, "source": f"EC2 API, {source}" if spot else source})
    return offers
