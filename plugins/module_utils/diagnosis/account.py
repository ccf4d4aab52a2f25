# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis rules for a failed deployment, from the AWS account's data: CloudFormation events and quotas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.diagnosis.causes import DEPLOYMENT, Cause, Readings

_MOST_LINES = 3
# CloudFormation's reasons for a resource that it cancelled because another resource had failed.
_FOLLOWS = re.compile(
    r"Resource (?:creation|update|deletion) cancelled|The following resource\(s\) failed", re.IGNORECASE
)
_NOT_ALLOWED = re.compile(r"not authorized to perform|AccessDenied|UnauthorizedOperation|explicit deny", re.IGNORECASE)
_NO_ROOM = re.compile(
    r"\w*LimitExceeded|maximum number of|exceeds? (?:the|your) (?:\w+ )*limit|InsufficientInstanceCapacity"
)


def _failures(readings: Readings) -> list[dict[str, Any]]:
    """Return the events that say why a resource failed in the stack's last attempt, the newest first.

    An attempt creates, updates or deletes the stack.
    """
    found = []
    stack = str(readings.get("stack_name", ""))
    for event in readings.get("stack_events", []):
        status, reason = str(event.get("resource_status", "")), str(event.get("resource_status_reason") or "")
        if status.endswith("FAILED") and reason and not _FOLLOWS.search(reason):
            found.append(event)
        begins = event.get("logical_resource_id") == stack and status in (
            "CREATE_IN_PROGRESS",
            "UPDATE_IN_PROGRESS",
            "DELETE_IN_PROGRESS",
        )
        if begins:
            break  # events of earlier attempts are no causes
    return found


def _stack(readings: Readings) -> Iterator[Cause]:
    failures = _failures(readings)
    for pattern, name, do in (
        (
            _NOT_ALLOWED,
            "the stack's resources were refused for want of a permission",
            "attach the documents of files/iam that the deployment needs: docs/aws.md",
        ),
        (
            _NO_ROOM,
            "the stack needs more than the account or the zone has",
            "ask for a higher quota (Service Quotas), or choose another type or zone",
        ),
        (None, "resources of the stack failed", "repair what the reason names, then deploy the stack again"),
    ):
        mine = [event for event in failures if pattern is None or pattern.search(event["resource_status_reason"])]
        failures = [event for event in failures if event not in mine]
        if mine:
            # Show the oldest event first: the first failure causes the later ones.
            lines = [
                f"{event['logical_resource_id']} {event['resource_status']}: {event['resource_status_reason']}"
                for event in reversed(mine)
            ]
            yield Cause(name, (DEPLOYMENT,), 92 if pattern else 88, tuple(lines[:_MOST_LINES]), do)


def _quotas(readings: Readings) -> Iterator[Cause]:
    for row in readings.get("quotas", []):
        if row["left"] == 0:
            yield Cause(
                f"nothing is left of the quota {row['code']}", (DEPLOYMENT,), 72,
                (f"{row['counts']}: {row['used']} of {row['limit']:g} are used in this region",),
                "ask for a higher quota (Service Quotas), or take back what is not needed",
            )  # fmt: skip


RULES = (
    _stack,
    _quotas,
)
