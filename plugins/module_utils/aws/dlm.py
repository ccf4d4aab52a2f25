# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A function that makes the details of a Data Lifecycle Manager (DLM) policy, for the module dlm_lifecycle_policy.

Source: DLM API reference, PolicyDetails. DLM selects a resource when any one of a policy's tags matches. So the tags of
the policy are only the hosts' Name tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def policy_details(
    host_names: Sequence[str], at_utc: str, keep: int, snapshot_tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return the PolicyDetails of a policy that snapshots the hosts' volumes daily at ``at_utc`` (HH:MM).

    ``keep`` is the number of snapshots to retain.
    """
    return {
        "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
        "ResourceTypes": ["INSTANCE"],
        "TargetTags": [{"Key": "Name", "Value": name} for name in sorted(host_names)],
        "Schedules": [
            {
                "Name": "daily",
                "CopyTags": False,
                "TagsToAdd": [{"Key": key, "Value": snapshot_tags[key]} for key in sorted(snapshot_tags)],
                "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": [at_utc]},
                "RetainRule": {"Count": keep},
            }
        ],
    }
