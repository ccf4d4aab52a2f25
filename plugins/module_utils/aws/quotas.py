# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that compare an AWS account's quotas with a deployment's needs, for the module service_quota_info.

The codes are from the Service Quotas console, services "Amazon Elastic Compute Cloud" (ec2) and "Amazon Virtual Private
Cloud" (vpc).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Quota(NamedTuple):
    """An AWS quota: its service and code, what it counts, and the variables that reduce a deployment's need."""

    service: str
    code: str
    counts: str
    variable: str


QUOTAS = {
    "vcpus": Quota(
        "ec2",
        "L-1216C47A",
        "vCPUs of running standard on-demand instances",
        "trading_instance_count, trading_generator_host",
    ),
    "spot_vcpus": Quota("ec2", "L-34B43A08", "vCPUs of standard Spot instances", "trading_instance_count"),
    "elastic_ips": Quota("ec2", "L-0263D0A3", "Elastic IP addresses", "trading_instance_count"),
    "vpcs": Quota("vpc", "L-F678F1CE", "VPCs", "trading_region"),
    "internet_gateways": Quota("vpc", "L-A4707A72", "internet gateways", "trading_region"),
}

# The two vCPU quotas count types whose names begin with these letters. Other families (g, p, x, inf, …) have their own.
_STANDARD_FAMILIES = "acdhimrtz"
# These families begin with one of the letters above, but have quotas of their own.
_OTHER_PREFIXES = ("dl", "hpc", "inf", "mac", "trn")
# The instance states whose vCPUs are counted as in use.
_COUNTED_STATES = frozenset({"pending", "running"})


def is_standard(instance_type: str) -> bool:
    """Return whether the vCPUs of this type count towards the quotas of standard instances."""
    return instance_type[0] in _STANDARD_FAMILIES and not instance_type.startswith(_OTHER_PREFIXES)


def vcpus_in_use(instances: Sequence[Mapping[str, Any]], spot: bool) -> int:
    """Return the number of vCPUs of the running standard instances: either those on Spot or those on demand.

    ``instances`` are in the form that DescribeInstances returns.
    """
    return sum(
        one["CpuOptions"]["CoreCount"] * one["CpuOptions"]["ThreadsPerCore"]
        for one in instances
        if one["State"]["Name"] in _COUNTED_STATES
        and (one.get("InstanceLifecycle") == "spot") is spot
        and is_standard(one["InstanceType"])
    )


def rows(limits: Mapping[str, float | None], used: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return one dictionary per quota with the keys name, code, counts (what it counts), limit, used and left.

    ``limit`` and ``left`` are None when the limit is unknown.
    """
    found = []
    for name, limit in limits.items():
        left = None if limit is None else max(0, int(limit) - used[name])
        quota = QUOTAS[name]
        found.append(
            {"name": name, "code": quota.code, "counts": quota.counts, "limit": limit, "used": used[name], "left": left}
        )
    return found


def shortages(found: Sequence[Mapping[str, Any]], needed: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each quota of which less is left than the deployment needs."""
    for row in found:
        wanted = needed.get(row["name"], 0)
        if row["left"] is not None and wanted > row["left"]:
            yield (
                f"{QUOTAS[row['name']].variable}: {wanted} more {row['counts']} are needed, and of the account's "
                f"{row['limit']:g} in this region {row['used']} are used; ask for a higher quota {row['code']} "
                "(Service Quotas), or choose less"
            )
