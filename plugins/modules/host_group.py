#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_group
short_description: Manage an Auto Scaling group of one host with its launch template
version_added: 0.1.0
description:
  - Create, change and delete an Auto Scaling group that keeps one host, and the launch template of the same name.
  - Create the group together with its lifecycle hook, so that the hook also applies to the first host.
    M(amazon.aws.autoscaling_group) supports no hooks, and a hook that is created later does not apply to that host.
  - Leave a running host unchanged when the template changes. The next host is launched from the new version.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  name:
    description: The name of the group and of its launch template.
    type: str
    required: true
  launch:
    description:
      - The launch template's data, with the fields of EC2's C(RequestLaunchTemplateData). Required when
        O(state=present).
    type: dict
  subnet_id:
    description: The subnet of the host, which determines its zone. Required when O(state=present).
    type: str
  target_group_arns:
    description: The target groups in which the host is registered. A host that is unhealthy there is replaced.
    type: list
    elements: str
    default: []
  grace_seconds:
    description: The time in seconds after the launch in which an unhealthy host is not replaced.
    type: int
    default: 600
  hook_name:
    description: The name of the lifecycle hook. A new host is not in service until it has completed the hook.
    type: str
    default: ready
  hook_seconds:
    description: >-
      The time in seconds after which a host that has not completed the hook is terminated, and another one is launched.
    type: int
    default: 900
  tags:
    description: The tags of template, group and host.
    type: dict
    default: {}
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.resource
  - lowlatency.trading.common.state
"""

EXAMPLES = r"""
- name: Keep one host for partition alpha
  lowlatency.trading.host_group:
    region: us-east-1
    name: trading-demo/alpha
    launch: {ImageId: ami-0123456789abcdef0, InstanceType: c6g.medium}
    subnet_id: subnet-0123456789abcdef0
    tags: {Project: lowlatency-trading, Environment: demo, Name: trading-demo-alpha}
"""

RETURN = r"""
version:
  description: >-
    The template's version from which the next host is launched. It is absent in check mode when the group does not
    exist yet.
  type: int
  returned: when there is a group
  sample: 1
"""

import hashlib
import json
import time
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

_TRIES = 120
_TRY_SECONDS = 5
_HOOK = ("HeartbeatTimeout", "DefaultResult", "LifecycleTransition")


def digest(launch: dict[str, Any]) -> str:
    """Return a digest of the launch data. It is stored as the description of the template's version.

    EC2 returns the launch data in another form than it received, so the digests are compared instead.
    """
    return f"sha256:{hashlib.sha256(json.dumps(launch, sort_keys=True).encode()).hexdigest()}"


def plan(params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the wanted launch template, group and lifecycle hook, or None when they shall not exist."""
    if params["state"] == "absent":
        return None
    return {
        "Template": digest(params["launch"]),
        "Group": {
            "LaunchTemplate": {"LaunchTemplateName": params["name"], "Version": "$Latest"},
            "MinSize": 1,
            "MaxSize": 1,
            "DesiredCapacity": 1,
            "VPCZoneIdentifier": params["subnet_id"],
            "HealthCheckType": "ELB",  # EC2's own checks count as well
            "HealthCheckGracePeriod": params["grace_seconds"],
        },
        "TargetGroupARNs": sorted(params["target_group_arns"]),
        "Hook": {
            "HeartbeatTimeout": params["hook_seconds"],
            "DefaultResult": "ABANDON",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        },
        "Tags": params["tags"],
    }


def _template(client: Any, name: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        answer = client.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    except ClientError as error:
        if error.response["Error"]["Code"].startswith("InvalidLaunchTemplateName.NotFound"):
            return None
        raise
    return dict(answer["LaunchTemplateVersions"][0])


def _launched_from(group: dict[str, Any], template: dict[str, Any] | None) -> dict[str, str]:
    """Return the name and version of ``template`` if the group launches its hosts from it.

    Otherwise return an empty dictionary. The template is recognised by its id, because another one may have the same
    name.
    """
    own = group.get("LaunchTemplate", {})
    if not template or own.get("LaunchTemplateId") != template["LaunchTemplateId"]:
        return {}
    return {key: own[key] for key in ("LaunchTemplateName", "Version") if key in own}


def observe(ec2: Any, scaling: Any, name: str, hook_name: str) -> dict[str, Any] | None:
    """Return launch template, group and hook in the form of ``plan``, or None when neither template nor group exists.

    When one of the three is missing, its value is empty.
    """
    template = _template(ec2, name)
    groups = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    if not template and not groups:
        return None
    group = groups[0] if groups else {}
    hooks = scaling.describe_lifecycle_hooks(AutoScalingGroupName=name)["LifecycleHooks"] if groups else []
    found: dict[str, Any] = next((hook for hook in hooks if hook["LifecycleHookName"] == hook_name), {})
    keys = ("MinSize", "MaxSize", "DesiredCapacity", "VPCZoneIdentifier", "HealthCheckType", "HealthCheckGracePeriod")
    known = {key: group[key] for key in keys if key in group}
    return {
        "Template": (template or {}).get("VersionDescription", ""),
        "Version": (template or {}).get("VersionNumber", 0),
        "Group": {**known, "LaunchTemplate": _launched_from(group, template)} if group else {},
        "TargetGroupARNs": sorted(group.get("TargetGroupARNs", [])),
        "Hook": {key: found[key] for key in _HOOK if key in found},
        "Tags": {tag["Key"]: tag["Value"] for tag in group.get("Tags", [])},
    }


def same(current: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether the current template, group and hook are as wanted."""
    return {key: current[key] for key in wanted} == wanted


def apply(
    ec2: Any,
    scaling: Any,
    params: dict[str, Any],
    current: dict[str, Any] | None,
    wanted: dict[str, Any] | None,
) -> int:
    """Bring template, group and hook to the wanted state; return the template's newest version."""
    current = current or {"Template": "", "Version": 0, "Group": {}, "TargetGroupARNs": [], "Hook": {}, "Tags": {}}
    if wanted is None:
        _remove(ec2, scaling, params["name"], current)
        return 0
    version = _apply_template(ec2, params, current, wanted)
    if current["Group"]:
        _change(scaling, params["name"], params["hook_name"], current, wanted)
    else:
        scaling.create_auto_scaling_group(
            AutoScalingGroupName=params["name"],
            LifecycleHookSpecificationList=[{"LifecycleHookName": params["hook_name"], **wanted["Hook"]}],
            TargetGroupARNs=wanted["TargetGroupARNs"],
            Tags=_tags(params["name"], wanted["Tags"]),
            **wanted["Group"],
        )
    return version


def _apply_template(ec2: Any, params: dict[str, Any], current: dict[str, Any], wanted: dict[str, Any]) -> int:
    asked = {"LaunchTemplateName": params["name"], "LaunchTemplateData": params["launch"]}
    if not current["Version"]:
        tags = [{"ResourceType": "launch-template", "Tags": aws.as_tag_list(wanted["Tags"])}] if wanted["Tags"] else []
        made = ec2.create_launch_template(VersionDescription=wanted["Template"], TagSpecifications=tags, **asked)
        return int(made["LaunchTemplate"]["LatestVersionNumber"])
    if current["Template"] != wanted["Template"]:
        made = ec2.create_launch_template_version(VersionDescription=wanted["Template"], **asked)
        return int(made["LaunchTemplateVersion"]["VersionNumber"])
    return int(current["Version"])


def _tags(name: str, tags: dict[str, str]) -> list[dict[str, Any]]:
    more = {"ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
    return [{**tag, **more} for tag in aws.as_tag_list(tags)]


def _change(scaling: Any, name: str, hook_name: str, current: dict[str, Any], wanted: dict[str, Any]) -> None:
    if current["Group"] != wanted["Group"]:
        scaling.update_auto_scaling_group(AutoScalingGroupName=name, **wanted["Group"])
    if current["Hook"] != wanted["Hook"]:
        scaling.put_lifecycle_hook(AutoScalingGroupName=name, LifecycleHookName=hook_name, **wanted["Hook"])
    before, after = set(current["TargetGroupARNs"]), set(wanted["TargetGroupARNs"])
    if after - before:
        scaling.attach_load_balancer_target_groups(AutoScalingGroupName=name, TargetGroupARNs=sorted(after - before))
    if before - after:
        scaling.detach_load_balancer_target_groups(AutoScalingGroupName=name, TargetGroupARNs=sorted(before - after))
    if gone := {key: value for key, value in current["Tags"].items() if key not in wanted["Tags"]}:
        scaling.delete_tags(Tags=_tags(name, gone))
    if changed := {key: value for key, value in wanted["Tags"].items() if current["Tags"].get(key) != value}:
        scaling.create_or_update_tags(Tags=_tags(name, changed))


def _remove(ec2: Any, scaling: Any, name: str, current: dict[str, Any]) -> None:
    """Delete the group with its host, wait until it is gone, and then delete the template.

    The template is deleted last. As long as it exists, the next run finds that something is left to delete.
    """
    if current["Group"]:
        scaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
        _wait_until_gone(scaling, name)
    if current["Version"]:
        ec2.delete_launch_template(LaunchTemplateName=name)


def _wait_until_gone(scaling: Any, name: str) -> None:
    """Wait until the group and its host are gone, because botocore has no waiter for that.

    Raises TimeoutError after ten minutes.
    """
    for _try in range(_TRIES):
        if not scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]:
            return
        time.sleep(_TRY_SECONDS)
    raise TimeoutError(f"AWS still has the group {name} after {_TRIES * _TRY_SECONDS} s")


def main() -> None:
    """Read template, group and hook, and bring them to the wanted state unless the run is in check mode."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "launch": {"type": "dict"},
            "subnet_id": {"type": "str"},
            "target_group_arns": {"type": "list", "elements": "str", "default": []},
            "grace_seconds": {"type": "int", "default": 600},
            "hook_name": {"type": "str", "default": "ready"},
            "hook_seconds": {"type": "int", "default": 900},
            "tags": {"type": "dict", "default": {}},
            **aws.STATE,
        },
        required_if=[("state", "present", ["launch", "subnet_id"])],
        supports_check_mode=True,
    )
    params, wanted = module.params, plan(module.params)
    ec2, scaling = aws.client(module, "ec2"), aws.client(module, "autoscaling")

    def look() -> dict[str, Any] | None:
        return observe(ec2, scaling, params["name"], params["hook_name"])

    def change(current: dict[str, Any] | None) -> int:
        return apply(ec2, scaling, params, current, wanted)

    try:
        done = aws.converge(module, f"the group {params['name']}", look, wanted, same, change)
    except TimeoutError as error:
        module.fail_json(msg=f"{error}: wait until its host is terminated, and run this again")
    else:
        version = done.answer or (done.current or {}).get("Version")
        facts = {"version": version} if version and wanted else {}
        before = {key: (done.current or {}).get(key) for key in wanted or {}}
        aws.report(module, done.changed, before, wanted, **facts)


if __name__ == "__main__":
    main()
