# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that each name one possible cause of a host's trouble, with the readings that support it. Pure.

A cause's weight tells how certain its evidence is: 90 and more proves the cause, 50 is a hint.
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
    """One possible cause: the symptom it explains, its evidence and the remedy."""

    name: str
    symptoms: tuple[str, ...]
    weight: int
    lines: tuple[str, ...]
    do: str


def logged(readings: Readings, pattern: str, units: tuple[str, ...] = SERVICES) -> list[str]:
    """Return the newest log lines that match the pattern, from units that do not run as they should."""
    wanted = re.compile(pattern)
    found = []
    for name in units:
        unit = readings.get("units", {}).get(name, {})
        if unit.get("active") == "active" and unit.get("sub") == "running" and name != PUBLISHER:
            continue
        lines = [f"{name}: {line}" for line in unit.get("log", []) if wanted.search(line)]
        found += lines[-2:]
    return found
