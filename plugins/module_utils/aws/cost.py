# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that estimate what a deployment costs in a month, from the prices in files/prices.yml and the amounts used.

The module cost_estimate uses them. AWS's free amounts apply to the whole AWS account. If other deployments use these
amounts up, the estimate is too low by their value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

COMPUTE = "compute"
# The bytes of one order in the journal: the record's header, the packet's header, and the Enter Order message. The
# engine journals each read, so at worst each order has a record of its own.
ORDER_BYTES = 29 + 3 + 49
BUSY_ORDERS_PER_S = 10_000
_GIB = 1 << 30
_DAY_S = 86_400
_MONTH_DAYS = 30
# The largest object that the backup's shipper writes to the bucket (trading_backup/shipper.py), in GiB.
_OBJECT_GIB = Decimal(8) / 1024
_CENT = Decimal("0.01")


class UnknownPriceError(Exception):
    """The price table has no price for an instance type."""


class Line(NamedTuple):
    """One line of the estimate: the item, how its cost is calculated, and the cost in USD a month, rounded to cents."""

    what: str
    how: str
    usd: Decimal


class Amounts(NamedTuple):
    """The amounts that a deployment uses in a month, all hosts together."""

    instance_type: str
    instances: int
    volume_gib: int
    public_addresses: int
    custom_metrics: int
    alarms: int
    composite_alarms: int
    dashboards: int
    logs_gib: float
    logs_kept_gib: float
    snapshots_gib: float
    data_out_gib: float
    generator_type: str = ""
    generators: int = 0
    generator_hours: float = 0
    backup_hosts: int = 0
    backup_gib_per_day: float = 0
    backup_days: int = 0
    backup_rpo_seconds: int = 60
    balancers: int = 0
    balancer_units: float = 1


def _usd(value: Decimal) -> Decimal:
    return value.quantize(_CENT, rounding=ROUND_HALF_UP)


def _plain(value: Any) -> Decimal:
    return Decimal(str(value))


def _above_free(what: str, amount: float, free: Any, each: Any, unit: str) -> Line:
    paid = max(Decimal(0), _plain(amount) - _plain(free))
    return Line(what, f"{amount:g}{unit}, {free:g} free, then {each:g}", _usd(paid * _plain(each)))


def _generators(prices: Mapping[str, Any], used: Amounts) -> list[Line]:
    """Return a list with the cost line of the load generators, or an empty list when there are none.

    When their price is unknown, the line's cost is 0 USD.
    """
    if not used.generators:
        return []
    hours = f"{used.generators} x {used.generator_type}, {used.generator_hours:g} h a month"
    each = prices["instance_per_hour"].get(used.generator_type)
    if each is None:
        return [Line("load generator", f"{hours}, price unknown", Decimal(0))]
    usd = _plain(each) * _plain(used.generator_hours) * used.generators
    return [Line("load generator", f"{hours} at {each}", _usd(usd))]


def _balancers(prices: Mapping[str, Any], used: Amounts) -> list[Line]:
    """Return a list with the cost line of the load balancers, or an empty list when there are none.

    A balancer's price has two parts: its hours, and the load balancer capacity units that it uses in each hour.
    """
    if not used.balancers:
        return []
    hours, each = _plain(prices["hours_per_month"]), _plain(prices["balancer"]["per_hour"])
    unit, units = _plain(prices["balancer"]["per_unit_hour"]), _plain(used.balancer_units)
    how = f"{used.balancers} x {hours} h at {each}, {units:f} units at {unit}"
    return [Line("load balancers", how, _usd((each + units * unit) * hours * used.balancers))]


def _puts(used: Amounts, gib_per_day: Decimal) -> int:
    """Return how many objects all hosts together put into the bucket in a month.

    The RPO (recovery point objective) is the longest time whose orders may be lost. A host puts two objects into the
    bucket per RPO. In addition it puts one for each amount of data that fills an object (_OBJECT_GIB).
    """
    regular = _plain(2 * _DAY_S * _MONTH_DAYS) / used.backup_rpo_seconds
    return math.ceil((regular + gib_per_day * _MONTH_DAYS / _OBJECT_GIB) * used.backup_hosts)


def _backup(prices: Mapping[str, Any], used: Amounts, gib_per_day: Decimal) -> list[Line]:
    """Return the lines of the backup bucket, or an empty list when no host copies its journal to a bucket."""
    if not used.backup_hosts:
        return []
    kept, puts = gib_per_day * used.backup_days * used.backup_hosts, _puts(used, gib_per_day)
    store, put = _plain(prices["s3"]["per_gib_month"]), _plain(prices["s3"]["put_per_1000"])
    return [
        Line("backup kept", f"{gib_per_day:f} GiB a day for {used.backup_days} days at {store}", _usd(kept * store)),
        Line("backup objects", f"{puts} at {put} a thousand", _usd(puts * put / 1000)),
    ]


def busy_backup(prices: Mapping[str, Any], used: Amounts) -> list[str]:
    """Return a list with one line: the bucket's monthly cost if orders came at the promised rate around the clock.

    The list is empty when there is no bucket.
    """
    if not used.backup_hosts:
        return []
    gib = (_plain(ORDER_BYTES * BUSY_ORDERS_PER_S * _DAY_S) / _GIB).quantize(Decimal(1))
    usd = total(_backup(prices, used, gib))
    return [f"backup at {BUSY_ORDERS_PER_S:,} orders/s around the clock: {gib} GiB a day, {usd} USD a month"]


def instance_month(prices: Mapping[str, Any], instance_type: str, per_hour: Any = None) -> Decimal:
    """Return the cost in USD of one instance in a month of 730 hours.

    ``per_hour`` is a price in USD that replaces the table's price. Raises UnknownPriceError when it is not given and
    the table does not have the type.
    """
    if per_hour is None:
        if instance_type not in prices["instance_per_hour"]:
            raise UnknownPriceError(instance_type)
        per_hour = prices["instance_per_hour"][instance_type]
    return _usd(_plain(per_hour) * _plain(prices["hours_per_month"]))


def estimate(prices: Mapping[str, Any], used: Amounts) -> list[Line]:
    """Return the lines of the estimate, whose sum is the month's total.

    Raises UnknownPriceError when the table of prices does not have the instance type.
    """
    hours = _plain(prices["hours_per_month"])
    compute = instance_month(prices, used.instance_type)
    volume_price = _plain(prices["gp3_per_gib_month"])
    address_price = _plain(prices["public_ipv4_per_hour"])
    composite_price = _plain(prices["composite_alarm_each"])
    kept_price = _plain(prices["logs_kept_per_gib_month"])
    snapshot_price = _plain(prices["snapshot_per_gib_month"])
    return [
        Line(COMPUTE, f"{used.instances} x {used.instance_type}, {hours} h", compute * used.instances),
        *_generators(prices, used),
        *_balancers(prices, used),
        Line("gp3 volumes", f"{used.volume_gib} GiB at {volume_price}", _usd(volume_price * used.volume_gib)),
        Line(
            "public IPv4",
            f"{used.public_addresses} x {hours} h at {address_price}",
            _usd(address_price * hours * used.public_addresses),
        ),
        _above_free(
            "custom metrics", used.custom_metrics, prices["custom_metric"]["free"], prices["custom_metric"]["each"], ""
        ),
        _above_free("alarms", used.alarms, prices["alarm"]["free"], prices["alarm"]["each"], ""),
        Line(
            "composite alarms",
            f"{used.composite_alarms} at {composite_price}",
            _usd(composite_price * used.composite_alarms),
        ),
        _above_free("dashboards", used.dashboards, prices["dashboard"]["free"], prices["dashboard"]["each"], ""),
        _above_free("logs taken in", used.logs_gib, prices["logs"]["free_gib"], prices["logs"]["per_gib"], " GiB"),
        Line("logs kept", f"{used.logs_kept_gib:g} GiB at {kept_price}", _usd(kept_price * _plain(used.logs_kept_gib))),
        Line(
            "snapshots",
            f"{used.snapshots_gib:g} GiB at {snapshot_price}",
            _usd(snapshot_price * _plain(used.snapshots_gib)),
        ),
        _above_free(
            "data out", used.data_out_gib, prices["data_out"]["free_gib"], prices["data_out"]["per_gib"], " GiB"
        ),
        *_backup(prices, used, _plain(used.backup_gib_per_day)),
    ]


def total(lines: list[Line]) -> Decimal:
    """Return the sum of the lines, in USD a month."""
    return sum((line.usd for line in lines), Decimal(0))


def table(lines: list[Line]) -> list[str]:
    """Return the estimate as text, one string per line, with the amounts aligned."""
    width = max(len(line.what) for line in lines)
    how_width = max(len(line.how) for line in lines)
    rows = [f"{line.what:<{width}}  {line.how:<{how_width}}  {line.usd:>9}" for line in lines]
    return [*rows, f"{'total':<{width}}  {'USD a month':<{how_width}}  {total(lines):>9}"]


def side_by_side(lines: list[Line], used: Amounts, offers: Sequence[Mapping[str, Any]], hours: Any) -> list[str]:
    """Return one text for each offer (see offers.py), with the month's total if the instances are paid that way.

    ``hours`` are the hours in a month in which the instances run.
    """
    others = sum((line.usd for line in lines if line.what != COMPUTE), Decimal(0))
    rows = []
    for offer in offers:
        if offer["usd_per_hour"] is None:
            rows.append(f"{offer['name']:<16} not told by {offer['source']}")
            continue
        compute = _usd(_plain(offer["usd_per_hour"]) * _plain(hours)) * used.instances
        price = f"{_plain(offer['usd_per_hour']):f}"
        rows.append(f"{offer['name']:<16} {price:>9} USD/h  {compute + others:>9} USD a month  ({offer['source']})")
    return rows
