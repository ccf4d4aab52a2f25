# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis rules for problems between a host and AWS: a wrong clock, refused requests, an unreachable endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.lowlatency.trading.plugins.module_utils.diagnosis.causes import (
    DEPLOYMENT,
    LATENCY,
    PUBLISHER,
    Cause,
    Readings,
    logged,
)


def _clock(readings: Readings) -> Iterator[Cause]:
    clock = readings.get("clock", {})
    if clock and (abs(clock["offset_s"]) >= 0.1 or not clock["synchronised"]):
        state = "synchronised" if clock["synchronised"] else "not synchronised"
        yield Cause(
            "the clock is off", (DEPLOYMENT, LATENCY), 88 if abs(clock["offset_s"]) >= 0.1 else 58,
            (f"chrony: {clock['offset_s']:+.3f} s, {state}, source {clock['source'] or 'none'}",),
            "chronyc sources; AWS refuses requests from 5 minutes on; docs/runbooks/clock.md",
        )  # fmt: skip


def _publisher(readings: Readings) -> Iterator[Cause]:
    refused = (
        r"AccessDenied|UnrecognizedClient|InvalidClientTokenId|ExpiredToken|not authorized"
        r"|Unable to locate credentials"  # the instance no longer has a role
    )
    unreachable = (
        r"Could not connect to the endpoint|EndpointConnectionError|Failed to resolve|Name or service not known"
    )
    for pattern, name, do in (
        (
            refused,
            "AWS refuses the host's role",
            "compare the instance profile with files/iam, and who changed it (CloudTrail)",
        ),
        (
            unreachable,
            "the host does not reach the AWS endpoint",
            "compare its endpoint and region with the deployment's",
        ),
    ):
        lines = logged(readings, pattern, (PUBLISHER, "amazon-cloudwatch-agent.service"))
        if lines:
            yield Cause(name, (DEPLOYMENT,), 90, tuple(lines), do)


RULES = (
    _clock,
    _publisher,
)
