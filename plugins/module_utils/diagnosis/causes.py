# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be wrong with a host: rules that each name one cause, with the readings that speak for it.

A cause's weight says how sure its evidence is: 90 and more names the thing itself, 50 is a hint. Nothing is asked here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    """One thing that is wrong, for whom it is a trouble, what speaks for it and what to do."""

    name: str
    symptoms: tuple[str, ...]
    weight: int
    lines: tuple[str, ...]
    do: str


def logged(readings: Readings, pattern: str, units: tuple[str, ...] = SERVICES) -> list[str]:
    """Return the newest lines of the units' logs in which the pattern is, of units that do not run as they should."""
    wanted = re.compile(pattern)
    found = []
    for name in units:
        unit = readings.get("units", {}).get(name, {})
        if unit.get("active") == "active" and unit.get("sub") == "running" and name != PUBLISHER:
            continue
        lines = [f"{name}: {line}" for line in unit.get("log", []) if wanted.search(line)]
        found += lines[-2:]
    return found
