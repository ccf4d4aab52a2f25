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
  - Create and delete the flow log that writes to a log group. The flow log is identified by its log group.
  - Replace a flow log that has another VPC or role, because EC2 cannot change a flow log.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  log_group:
    description: The log group to which the flow log writes.
    type: str
    required: true
  vpc_id:
    description: The VPC whose connections are logged. Required when O(state=present).
    type: str
  role_arn:
    description: The ARN of the role that may write to the log group. Required when O(state=present).
    type: str
  tags:
    description: The tags of a new flow log.
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
- name: Write every connection of the VPC
  lowlatency.trading.vpc_flow_log:
    region: us-east-1
    log_group: /trading/demo/flow
    vpc_id: vpc-0123456789abcdef0
    role_arn: arn:aws:iam::123456789012:role/lowlatency-trading/demo/trading-demo-flow
"""

RETURN = r"""
flow_log_id:
  description: The flow log's id. It is absent in check mode when the flow log does not exist yet.
  type: str
  returned: when there is a flow log
  sample: fl-0123456789abcdef0
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws


def plan(params: dict[str, Any]) -> dict[str, str] | None:
    """Return the wanted flow log with the fields of DescribeFlowLogs, or None when it shall not exist."""
    if params["state"] == "absent":
        return None
    return {"ResourceId": params["vpc_id"], "DeliverLogsPermissionArn": params["role_arn"], "TrafficType": "ALL"}


def observe(client: Any, log_group: str) -> dict[str, Any] | None:
    """Return the flow log that writes to ``log_group``, or None when there is none."""
    found = client.describe_flow_logs(Filters=[{"Name": "log-group-name", "Values": [log_group]}])["FlowLogs"]
    return dict(found[0]) if found else None


def create(client: Any, wanted: dict[str, str], log_group: str, tags: dict[str, str]) -> str:
    """Create the flow log and return its id.

    Raises ClientError, also when EC2's answer is successful but contains an error for the flow log.
    """
    from botocore.exceptions import ClientError

    answer = client.create_flow_logs(
        ResourceType="VPC",
        ResourceIds=[wanted["ResourceId"]],
        TrafficType=wanted["TrafficType"],
        LogGroupName=log_group,
        DeliverLogsPermissionArn=wanted["DeliverLogsPermissionArn"],
        TagSpecifications=[{"ResourceType": "vpc-flow-log", "Tags": aws.as_tag_list(tags)}] if tags else [],
    )
    for refused in answer.get("Unsuccessful", []):
        raise ClientError(refused, "CreateFlowLogs")
    return str(answer["FlowLogIds"][0])


def apply(
    client: Any, current: dict[str, Any] | None, wanted: dict[str, str] | None, log_group: str, tags: dict[str, str]
) -> str | None:
    """Delete the current flow log and create the wanted one; return its id, or None without a wanted one."""
    if current:
        client.delete_flow_logs(FlowLogIds=[current["FlowLogId"]])
    return create(client, wanted, log_group, tags) if wanted else None


def main() -> None:
    """Read the flow log, and bring it to the wanted state unless the run is in check mode."""
    module = AnsibleAWSModule(
        argument_spec={
            "log_group": {"type": "str", "required": True},
            "vpc_id": {"type": "str"},
            "role_arn": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
            **aws.STATE,
        },
        required_if=[("state", "present", ["vpc_id", "role_arn"])],
        supports_check_mode=True,
    )
    log_group, tags, wanted = module.params["log_group"], module.params["tags"], plan(module.params)
    client = aws.client(module, "ec2")
    done = aws.converge(
        module,
        f"the flow log of {log_group}",
        lambda: observe(client, log_group),
        wanted,
        aws.holds,
        lambda current: apply(client, current, wanted, log_group, tags),
    )
    flow_log_id = done.answer or (done.current or {}).get("FlowLogId")
    facts = {"flow_log_id": flow_log_id} if flow_log_id and wanted else {}
    before, after = (
        {key: (log or {}).get(key) for key in ("ResourceId", "DeliverLogsPermissionArn")}
        for log in (done.current, wanted)
    )
    aws.report(module, done.changed, before, after, **facts)


if __name__ == "__main__":
    main()
