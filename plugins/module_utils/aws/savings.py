# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that suggest savings, from CPU use and prices. The filter cost_suggestions uses them.

The suggestions are: end idle hosts, use another instance type, use Spot, or run only at fixed hours. A smaller type may
not meet the SLO targets: measure one engine on it first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.lowlatency.trading.plugins.module_utils.aws import offers as offer_names

HOURS_A_WEEK = 168
# vCPUs by the size of a type. They are right for every Graviton family in files/prices.yml, where medium has one vCPU.
_VCPUS = {"medium": 1, "large": 2, "xlarge": 4}


class Suggestion(NamedTuple):
    """A possible saving: its name, its reason, how to get it, and the USD saved in a month.

    `usd` is 0 when the change costs more, or when the saving is unknown.
    """

    name: str
    why: str
    how: str
    usd: float


class Limits(NamedTuple):
    """The user's limits for suggestions.

    Both percentages are shares of the time of all CPUs of a host. Below `idle_percent` a host is idle. Above
    `busy_percent` its instance type is too small. `hours_a_week` are the hours in which development hosts would run.
    """

    idle_percent: float
    busy_percent: float
    hours_a_week: float


def vcpus(instance_type: str) -> int:
    """Return the number of vCPUs of an instance type, derived from the size in its name; 0 for an unknown size."""
    size = instance_type.partition(".")[2]
    if size in _VCPUS:
        return _VCPUS[size]
    factor = size.removesuffix("xlarge") if size.endswith("xlarge") else ""
    return 4 * int(factor) if factor.isdigit() else 0


def idle(uses: Mapping[str, Mapping[str, Any]], limits: Limits, hour_usd: float, hours: float) -> Iterator[Suggestion]:
    """Yield a suggestion for each host that was idle in every measured hour.

    ``hour_usd`` is the price of one hour of an instance, ``hours`` the hours of a month in which the hosts run.
    """
    for name, use in uses.items():
        if use["hours"] and use["highest"] < limits.idle_percent:
            yield Suggestion(
                f"{name} is idle",
                f"its CPUs were busy {use['highest']:.1f} % in its busiest of {use['hours']} hours",
                "take it back (playbooks/destroy.yml), or give it hours (trading_hours)",
                round(hour_usd * hours, 2),
            )


def right_size(
    uses: Mapping[str, Mapping[str, Any]], limits: Limits, now: str, prices: Mapping[str, float], hours: float
) -> Iterator[Suggestion]:
    """Yield a suggestion to use another instance type, or nothing when the present type (``now``) fits.

    The suggested type is the smallest one of the same family that keeps the busiest host below the limit of CPU use.
    """
    measured = {name: use for name, use in uses.items() if use["hours"]}
    if not measured or not vcpus(now) or now not in prices:
        return
    name, use = max(measured.items(), key=lambda one: one[1]["highest"])
    needed = vcpus(now) * use["highest"] / limits.busy_percent
    family = now.partition(".")[0]
    others = sorted((vcpus(one), one) for one in prices if one.partition(".")[0] == family and vcpus(one))
    fitting = [one for count, one in others if count >= needed]
    why = f"{name} was busy {use['highest']:.0f} % of {vcpus(now)} vCPUs in its busiest of {use['hours']} hours"
    if not fitting:
        yield Suggestion(f"{now} is too small", why, f"no type of {family} in the table of prices is larger", 0)
    elif fitting[0] != now:
        difference = (float(prices[now]) - float(prices[fitting[0]])) * hours * len(uses)
        size = "larger" if difference < 0 else "smaller"
        note = "; the engine then has no CPU of its own" if vcpus(fitting[0]) == 1 else ""
        how = f"trading_instance_type: {fitting[0]}, which is {size}, and verify again{note}"
        yield Suggestion(f"{fitting[0]} instead of {now}", why, how, round(max(0.0, difference), 2))


def prices_of(offers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return a dictionary: offer → USD an hour. It has only the offers with a known price."""
    return {one["name"]: float(one["usd_per_hour"]) for one in offers if one["usd_per_hour"] is not None}


def ways_to_pay(
    offers: Sequence[Mapping[str, Any]], spot: bool, scheduled: bool, limits: Limits, hours: float, hosts: int
) -> Iterator[Suggestion]:
    """Yield suggestions to use Spot, a reservation or fixed hours, each only if it costs less than now.

    Yields nothing when the hosts already use Spot or fixed hours, or when the on-demand price is unknown.
    """
    told = prices_of(offers)
    base = told.get(offer_names.ON_DEMAND)
    if base is None or spot or scheduled:
        return
    if told.get(offer_names.SPOT, base) < base:
        yield Suggestion(
            "Spot",
            f"{told[offer_names.SPOT]:g} instead of {base:g} USD an hour now",
            "trading_spot: true, for hosts that AWS may take away within two minutes",
            round((base - told[offer_names.SPOT]) * hours * hosts, 2),
        )
    if told.get(offer_names.RESERVED, base) < base:
        yield Suggestion(
            "a reservation",
            f"{told[offer_names.RESERVED]:g} instead of {base:g} USD an hour, for one year",
            "buy it in the account (EC2, Reserved Instances): it holds for hosts of this type that run always",
            round((base - told[offer_names.RESERVED]) * hours * hosts, 2),
        )
    if limits.hours_a_week < HOURS_A_WEEK:
        share = 1 - limits.hours_a_week / HOURS_A_WEEK
        yield Suggestion(
            f"{limits.hours_a_week:g} hours a week",
            "for development hosts, which nobody uses at night",
            "trading_hours: {start: cron(0 7 ? * MON-FRI *), stop: cron(0 19 ? * MON-FRI *), timezone: UTC}",
            round(base * share * hours * hosts, 2),
        )


def suggestions(
    uses: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any], limits: Limits
) -> list[dict[str, Any]]:
    """Return all suggestions as dictionaries, the largest saving first.

    ``about`` has instance_type, prices (USD an hour by type), offers (see offers.py), spot, scheduled and hours.
    """
    hours, now, offers = float(about["hours"]), str(about["instance_type"]), list(about["offers"])
    paid = offer_names.SPOT if about["spot"] else offer_names.ON_DEMAND
    hour_usd = prices_of(offers).get(paid, float(about["prices"].get(now, 0)))
    found = [
        *idle(uses, limits, hour_usd, hours),
        *right_size(uses, limits, now, about["prices"], hours),
        *ways_to_pay(offers, bool(about["spot"]), bool(about["scheduled"]), limits, hours, len(uses)),
    ]
    return [one._asdict() for one in sorted(found, key=lambda one: -one.usd)]
