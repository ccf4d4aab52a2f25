# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts that all diagnosis rules share: the class of a cause, and functions that apply rules to a host's readings.

A rule is a function that takes the readings of a host and yields the causes for which they are evidence. The filter
likely_causes applies all rules. A cause's weight says how certain its evidence is: 90 and more proves the cause, 50 is
a hint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

LATENCY, START, CONNECT, DEPLOYMENT = "high latency", "does not start", "cannot connect", "deployment failed"
SYMPTOMS = (LATENCY, START, CONNECT, DEPLOYMENT)
ENGINE, FEED, TELEMETRY, PUBLISHER = (
    "trading-engine.service",
    "trading-feed.service",
    "telemetry.service",
    "trading-publish.service",
)
SERVICES = (ENGINE, FEED, TELEMETRY)

Readings = dict[str, Any]


@dataclass(frozen=True)
class Cause:
    """One possible cause: its name, the symptoms that it explains, its weight, the lines of evidence and the remedy."""

    name: str
    symptoms: tuple[str, ...]
    weight: int
    lines: tuple[str, ...]
    do: str


def logged(readings: Readings, pattern: str, units: tuple[str, ...] = SERVICES) -> list[str]:
    """Return the two newest log lines that match the pattern, for each unit that is not running.

    The log of the service that publishes metrics is searched even while the service runs.
    """
    wanted = re.compile(pattern)
    found = []
    for name in units:
        unit = readings.get("units", {}).get(name, {})
        if unit.get("active") == "active" and unit.get("sub") == "running" and name != PUBLISHER:
            continue
        lines = [f"{name}: {line}" for line in unit.get("log", []) if wanted.search(line)]
        found += lines[-2:]
    return found


def found_by(rules: Sequence[Callable[[Readings], Iterator[Cause]]], readings: Readings) -> list[Cause]:
    """Return the causes that these rules find in the readings of a host.

    On a host with `partitions` the rules are applied to each engine. A cause that all engines have is a cause of the
    host and is returned once. Any other cause is returned with the name of its engine.
    """
    partitions: list[str] = readings.get("partitions", [])
    if not partitions:
        return [cause for rule in rules for cause in rule(readings)]
    engines: dict[Cause, list[str]] = {}
    for partition in partitions:
        seen = _as_one(readings, partition)
        for rule in rules:
            for cause in rule(seen):
                engines.setdefault(cause, []).append(partition)
    found = []
    for cause, of in engines.items():
        if len(of) == len(partitions) > 1:
            found.append(cause)
        else:
            found += [_named(cause, partition, of_one=len(partitions) > 1) for partition in of]
    return found


def _units_of(partition: str) -> dict[str, str]:
    """Return a dictionary: a unit's name on a host with one engine → the unit's name in this partition."""
    return {unit: unit.replace(".service", f"@{partition}.service") for unit in (ENGINE, FEED)}


def _as_one(readings: Readings, partition: str) -> Readings:
    """Return the readings of a host as if the engine of this partition were the host's only engine.

    The units of other partitions keep their names, so that rules still know them as units of this collection.
    """
    seen = {**readings, "engine": readings.get("engines", {}).get(partition, {})}
    for key in ("units", "wanted_ports", "cpus_of"):
        of_units = dict(readings.get(key, {}))
        of_units.update({one: of_units.pop(own) for one, own in _units_of(partition).items() if own in of_units})
        seen[key] = of_units
    others = {unit for other in readings["partitions"] if other != partition for unit in _units_of(other).values()}
    seen["wanted_ports"] = {unit: port for unit, port in seen["wanted_ports"].items() if unit not in others}
    return seen


def _named(cause: Cause, partition: str, of_one: bool) -> Cause:
    """Return the cause with the partition's own unit names in its texts.

    If `of_one` is true, the cause's name begins with the partition's name.
    """

    def true(text: str) -> str:
        for one, own in _units_of(partition).items():
            text = text.replace(one, own)
        return text

    name = f"{partition}: {true(cause.name)}" if of_one else true(cause.name)
    return replace(cause, name=name, lines=tuple(map(true, cause.lines)), do=true(cause.do))
