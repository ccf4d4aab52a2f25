#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: vpc_flow_log
short_description: Manage the flow log of a VPC in CloudWatch Logs
version_added: 0.1.0
description:
  - Creates and deletes the one flow log that writes to a log group, found again by this group.
  - EC2 cannot change a flow log, so one of another VPC or role is replaced.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  log_group:
    description: The log group that receives the lines.
    type: str
    required: true
  vpc_id:
    description: The VPC whose connections are written. Required when O(state=present).
    type: str
  role_arn:
    description: ARN of the role under which they are written. Required when O(state=present).
    type: str
  tags:
    description: Tags of a flow log that is created.
    type: dict
    default: {}
  state:
    description: Whether the flow log exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    description: Can run in check mode and say what would change.
    support: full
  diff_mode:
    description: Shows VPC and role before and after.
    support: full
"""

EXAMPLES = r"""
- name: Write every connection of the VPC
  lowlatency.trading.vpc_flow_log:
    region: us-east-1
    log_group: /trading/demo/flow
    vpc_id: vpc-0123456789abcdef0
    role_arn: arn:aws:iam::123456789012:role/lowlatency-trading/demo/trading-demo-flow
"""

RETURN = r"""
flow_log_id:
  description: The flow log's id; absent in check mode for one that would be new.
  type: str
  returned: when there is a flow log
  sample: fl-0123456789abcdef0
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils import aws


def details(flow_log: dict[str, Any]) -> dict[str, str]:
    """Return what makes a flow log the wanted one, in the words of DescribeFlowLogs."""
    return {key: flow_log[key] for key in ("ResourceId", "DeliverLogsPermissionArn", "TrafficType")}


def wanted_of(params: dict[str, Any]) -> dict[str, str] | None:
    """Return the details that the parameters ask for; None for no flow log."""
    if params["state"] == "absent":
        return None
    return {"ResourceId": params["vpc_id"], "DeliverLogsPermissionArn": params["role_arn"], "TrafficType": "ALL"}


def create(client: Any, wanted: dict[str, str], log_group: str, tags: dict[str, str]) -> str:
    """Create the flow log and return its id. Raises ValueError with AWS's reason for not doing so."""
    answer = client.create_flow_logs(
        ResourceType="VPC",
        ResourceIds=[wanted["ResourceId"]],
        TrafficType=wanted["TrafficType"],
        LogGroupName=log_group,
        DeliverLogsPermissionArn=wanted["DeliverLogsPermissionArn"],
        TagSpecifications=[{"ResourceType": "vpc-flow-log", "Tags": aws.as_tag_list(tags)}] if tags else [],
    )
    for refused in answer.get("Unsuccessful", []):
        raise ValueError(f"{refused['Error']['Message']} ({refused['Error']['Code']})")
    return str(answer["FlowLogIds"][0])


def main() -> None:
    """Read, plan, apply."""
    module = AnsibleAWSModule(
        argument_spec={
            "log_group": {"type": "str", "required": True},
            "vpc_id": {"type": "str"},
            "role_arn": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["vpc_id", "role_arn"])],
        supports_check_mode=True,
    )
    log_group, wanted = module.params["log_group"], wanted_of(module.params)
    client = aws.client(module, "ec2")
    present: list[dict[str, Any]] = []
    try:
        present = client.describe_flow_logs(Filters=[{"Name": "log-group-name", "Values": [log_group]}])["FlowLogs"]
    except Exception as error:
        aws.fail(module, error, f"read the flow log of {log_group}")
    unwanted = [found["FlowLogId"] for found in present if details(found) != wanted]
    kept = [found["FlowLogId"] for found in present if details(found) == wanted]
    if not module.check_mode:
        try:
            if unwanted:
                client.delete_flow_logs(FlowLogIds=unwanted)
            if wanted and not kept:
                kept = [create(client, wanted, log_group, module.params["tags"])]
        except ValueError as error:
            module.fail_json(msg=f"Cannot write the flow log of {wanted} to {log_group}: {error}")
        except Exception as error:
            aws.fail(module, error, f"change the flow log of {log_group}")
    before = [details(found) for found in present]
    after = [wanted] if wanted else []
    result: dict[str, Any] = {"changed": before != after}
    if kept:
        result["flow_log_id"] = kept[0]
    if module._diff:
        result["diff"] = {"before": before, "after": after}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
