# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that judge the instance refreshes by which a fleet's groups replace their hosts.

Groups, launch templates and refreshes have the form in which the info modules of amazon.aws return them. A group of a
fleet has one host and one journal volume. Its name ends with the partition's name, after a slash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstanceRefresh.html
ENDED = frozenset({"Successful", "Failed", "Cancelled", "RollbackSuccessful", "RollbackFailed"})


def still_open(refreshes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those of these refreshes that have not ended. A status that nobody knows counts as not ended."""
    return [one for one in refreshes if one["status"] not in ENDED]


def plan(
    groups: Sequence[Mapping[str, Any]],
    templates: Sequence[Mapping[str, Any]],
    refreshes: Mapping[str, Sequence[Mapping[str, Any]]],
    target_groups: Sequence[Mapping[str, Any]],
    partition: str = "",
) -> dict[str, Any]:
    """Return which hosts to replace, and what is against that.

    ``refreshes`` has the refreshes of each group, by the group's name. ``target_groups`` are those of `unhealthy`.
    ``partition`` limits the plan to one partition, unless it is empty. The result has `problems`, a list of sentences,
    and `hosts`, sorted by partition. Each host has `partition`, `group`, `target_group_arns`,
    `instance` (the id, or an empty text), `version` (of the launch template from which it was launched), `newest`
    (version of the template), and `due` (whether it is to be replaced). Versions are 0 when there is none.
    """
    by_partition = {_partition(group): group for group in groups}
    chosen = {name: by_partition[name] for name in sorted(by_partition) if partition in ("", name)}
    if not by_partition:
        return {"problems": ["it has no group: playbooks/fleet.yml makes them"], "hosts": []}
    if not chosen:
        there = ", ".join(sorted(by_partition))
        return {"problems": [f"no group is of partition {partition}: name one of {there}"], "hosts": []}
    hosts = [_host(name, group, templates) for name, group in chosen.items()]
    problems = [
        sentence
        for host, group in zip(hosts, chosen.values())
        for sentence in _problems(host, group, refreshes.get(host["group"], []), target_groups)
    ]
    return {"problems": problems, "hosts": hosts}


def unhealthy(host: Mapping[str, Any], target_groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of those target groups of a host in which nobody but the host before is healthy, sorted.

    ``host`` is one of the hosts of `plan`, and ``host["instance"]`` the host before. ``target_groups`` are those of
    community.aws.elb_target_group_info, with the health of their targets.
    """
    healthy = {
        group["target_group_arn"]
        for group in target_groups
        for each in group["targets_health_description"]
        if each["target"]["id"] != host["instance"] and each["target_health"]["state"] == "healthy"
    }
    return sorted(arn.split("/")[1] for arn in host["target_group_arns"] if arn not in healthy)


def fault(host: Mapping[str, Any], refresh: Mapping[str, Any], ill: Sequence[str], limit_seconds: int) -> str:
    """Return a text that says why the refresh of a host did not succeed and what to do. Without a fault it is empty.

    ``host`` is one of the hosts of `plan`. ``ill`` are the names that `unhealthy` returns. They count only after a
    successful refresh.
    """
    group, status = host["group"], refresh["status"]
    reason = (refresh.get("status_reason") or "AWS gives no reason").rstrip(".")
    if status not in ENDED:
        return (
            f"AWS has not replaced the host of {group} within {limit_seconds} s. Its refresh is {status}: {reason}. "
            f"The refresh goes on. {_look(group)} To end it, run aws autoscaling cancel-instance-refresh "
            f"--auto-scaling-group-name {group}. {_BACK}"
        )
    if status != "Successful":
        return f"The refresh of {group} ended as {status}: {reason}. {_look(group)} {_BACK}"
    if ill:
        return (
            f"AWS has replaced the host of {group}, but within {limit_seconds} s the new host was not healthy in "
            f"{', '.join(ill)}. /health of its telemetry says which check fails. {_BACK}"
        )
    return ""


_BACK = (
    "To go back, run fleet.yml with the trading_image_id before, and terminate the new host if there is one: the next "
    "host of the group is launched from that image."
)


def _look(group: str) -> str:
    return (
        f"aws autoscaling describe-scaling-activities --auto-scaling-group-name {group} lists what the group tried, "
        "and aws ec2 get-console-output --instance-id ID shows what a new host wrote."
    )


def _partition(group: Mapping[str, Any]) -> str:
    return str(group["auto_scaling_group_name"]).rpartition("/")[2]


def _host(name: str, group: Mapping[str, Any], templates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    own = group.get("launch_template") or {}
    template = next((one for one in templates if one["launch_template_id"] == own.get("launch_template_id")), None)
    newest = int(template["latest_version_number"]) if template else 0
    instance = _instance(group)
    launched = instance.get("launch_template") or {}
    same = template is not None and launched.get("launch_template_id") == template["launch_template_id"]
    version = int(launched["version"]) if same and str(launched["version"]).isdigit() else 0
    contents = {
        int(one["version_number"]): one.get("version_description", "") for one in (template or {}).get("versions", [])
    }
    return {
        "partition": name,
        "group": group["auto_scaling_group_name"],
        "target_group_arns": list(group.get("target_group_arns") or []),
        "instance": instance.get("instance_id", ""),
        "version": version,
        "newest": newest,
        # The module host_group describes a version by a digest. After a way back, an older version is as the newest.
        "due": version != newest and not (contents.get(version) and contents[version] == contents.get(newest)),
    }


def _instance(group: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the group's only instance, or an empty dictionary when it has none or several."""
    instances = group.get("instances") or []
    return instances[0] if len(instances) == 1 else {}


def _problems(
    host: Mapping[str, Any],
    group: Mapping[str, Any],
    refreshes: Sequence[Mapping[str, Any]],
    target_groups: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    name = host["group"]
    for one in still_open(refreshes):
        yield (
            f"the refresh {one['instance_refresh_id']} of {name} is {one['status']}: wait until it has ended, or run "
            f"aws autoscaling cancel-instance-refresh --auto-scaling-group-name {name}"
        )
    states = [f"{one['instance_id']} is {one['lifecycle_state']}" for one in group.get("instances") or []]
    if [one["lifecycle_state"] for one in group.get("instances") or []] != ["InService"]:
        yield (
            f"{name} does not have one host in service ({', '.join(states) or 'it has none'}): wait until it has. The "
            f"next host that it launches has the newest version"
        )
    if not host["newest"]:
        yield f"{name} has no launch template: run fleet.yml, which gives it one"
    if not host["target_group_arns"]:
        yield f"{name} has no target group, so no client reaches its host: run fleet.yml, which attaches them"
    if not host["due"]:
        if ill := unhealthy({**host, "instance": ""}, target_groups):
            yield (
                f"{name} has the newest version already, but its host is not healthy in {', '.join(ill)}: repair it or "
                f"go back first, or name another partition"
            )
        return
    if suspended := sorted(one["process_name"] for one in group.get("suspended_processes") or []):
        yield (
            f"the processes {', '.join(suspended)} of {name} are suspended: find out why, and then run aws autoscaling "
            f"resume-processes --auto-scaling-group-name {name}"
        )
    if _instance(group).get("protected_from_scale_in"):
        yield (
            f"host {host['instance']} of {name} is protected from scale-in, and AWS would wait for an hour: run aws "
            f"autoscaling set-instance-protection --no-protected-from-scale-in --instance-ids {host['instance']} "
            f"--auto-scaling-group-name {name}"
        )
