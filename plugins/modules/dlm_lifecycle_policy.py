#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: dlm_lifecycle_policy
short_description: Manage a policy that takes daily snapshots of EC2 instances
version_added: 0.1.0
description:
  - Create, change and delete one policy of Amazon Data Lifecycle Manager. The policy is identified by its tag C(Name).
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  name:
    description: The policy's name, stored in its tag C(Name).
    type: str
    required: true
  role_arn:
    description: The ARN of the role that takes the snapshots. Required when O(state=present).
    type: str
  host_names:
    description: The C(Name) tags of the instances. Required when O(state=present).
    type: list
    elements: str
  at_utc:
    description: The time of day in UTC, such as C(03:00).
    type: str
    default: "03:00"
  keep:
    description: The number of snapshots that are kept, 1 to 1000.
    type: int
    default: 7
  snapshot_tags:
    description: The tags of the snapshots.
    type: dict
    default: {}
  tags:
    description: The tags of the policy, in addition to C(Name).
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
- name: Keep a week of daily snapshots
  lowlatency.trading.dlm_lifecycle_policy:
    region: us-east-1
    name: trading-demo-snapshots
    role_arn: arn:aws:iam::123456789012:role/lowlatency-trading/demo/trading-demo-snapshots
    host_names: [trading-demo-1]
    keep: 7
"""

RETURN = r"""
policy_id:
  description: The policy's id. It is absent in check mode when the policy does not exist yet.
  type: str
  returned: when there is a policy
  sample: policy-0123456789abcdef0
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, dlm


def observe(client: Any, name: str) -> dict[str, Any] | None:
    """Return the policy whose tag Name has this value, or None when there is none."""
    summaries = client.get_lifecycle_policies()["Policies"]
    found = [summary["PolicyId"] for summary in summaries if summary.get("Tags", {}).get("Name") == name]
    if not found:
        return None
    policy: dict[str, Any] = client.get_lifecycle_policy(PolicyId=found[0])["Policy"]
    return policy


def plan(params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the wanted policy with the fields of CreateLifecyclePolicy, or None when the policy shall not exist."""
    if params["state"] == "absent":
        return None
    return {
        "ExecutionRoleArn": params["role_arn"],
        "Description": f"{params['name']} of lowlatency-trading",  # DLM accepts only letters, digits, spaces, _ and -
        "State": "ENABLED",
        "PolicyDetails": dlm.policy_details(
            params["host_names"], params["at_utc"], params["keep"], params["snapshot_tags"]
        ),
    }


def apply(
    client: Any, current: dict[str, Any] | None, wanted: dict[str, Any] | None, tags: dict[str, str]
) -> str | None:
    """Create, update or delete the policy. Return the id of the resulting policy, or None after a deletion."""
    if wanted is None:
        if current is not None:
            client.delete_lifecycle_policy(PolicyId=current["PolicyId"])
        return None
    if current is None:
        return str(client.create_lifecycle_policy(**wanted, Tags=tags)["PolicyId"])
    client.update_lifecycle_policy(PolicyId=current["PolicyId"], **wanted)
    return str(current["PolicyId"])


def main() -> None:
    """Read the policy, and bring it to the wanted state unless the run is in check mode."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "role_arn": {"type": "str"},
            "host_names": {"type": "list", "elements": "str"},
            "at_utc": {"type": "str", "default": "03:00"},
            "keep": {"type": "int", "default": 7},
            "snapshot_tags": {"type": "dict", "default": {}},
            "tags": {"type": "dict", "default": {}},
            **aws.STATE,
        },
        required_if=[("state", "present", ["role_arn", "host_names"])],
        supports_check_mode=True,
    )
    name = module.params["name"]
    wanted = plan(module.params)
    client = aws.client(module, "dlm")
    tags = {**module.params["tags"], "Name": name}
    done = aws.converge(
        module,
        f"the snapshot policy {name}",
        lambda: observe(client, name),
        wanted,
        aws.holds,
        lambda current: apply(client, current, wanted, tags),
    )
    policy_id = done.answer or (done.current or {}).get("PolicyId")
    facts = {"policy_id": policy_id} if policy_id and wanted else {}
    before, after = ((policy or {}).get("PolicyDetails", {}) for policy in (done.current, wanted))
    aws.report(module, done.changed, before, after, **facts)


if __name__ == "__main__":
    main()
