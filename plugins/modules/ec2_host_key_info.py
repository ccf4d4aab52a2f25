#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: ec2_host_key_info
short_description: Read the SSH host keys of EC2 instances from their console output
version_added: 0.1.0
description:
  - Read the host keys that cloud-init prints on the console of a new instance. Only callers with permissions in the AWS
    account can read the console. So a key from it can be trusted at the first connection.
  - Wait until every instance has printed its key, or until O(wait_seconds) have passed.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  instance_ids:
    description: The ids of the instances.
    type: list
    elements: str
    required: true
  wait_seconds:
    description: The seconds to wait for keys that are not printed yet.
    type: int
    default: 120
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read the host key
  lowlatency.trading.ec2_host_key_info:
    region: us-east-1
    instance_ids: [i-0123456789abcdef0]
  register: host_keys
"""

RETURN = r"""
host_keys:
  description: The host key of each instance that printed one, by instance id.
  type: dict
  returned: success
  sample: {"i-0123456789abcdef0": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"}
"""

import time
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, console

_POLL_SECONDS = 1.0


def output_of(client: Any, instance_id: str) -> str:
    """Return the latest console output of an instance.

    Types without the Nitro hypervisor do not support the latest output. For these the output that EC2 has buffered is
    returned.
    """
    from botocore.exceptions import ClientError

    try:
        answer = client.get_console_output(InstanceId=instance_id, Latest=True)
    except ClientError as error:
        if error.response["Error"]["Code"] != "UnsupportedOperation":
            raise
        answer = client.get_console_output(InstanceId=instance_id)
    return str(answer.get("Output", ""))  # botocore has already decoded the output


def observe(client: Any, instance_ids: list[str], wait_seconds: float) -> dict[str, str]:
    """Return a dictionary: instance id → host key, for the instances that print one within ``wait_seconds``."""
    deadline = time.monotonic() + wait_seconds
    found: dict[str, str] = {}
    while True:
        for instance_id in instance_ids:
            if instance_id not in found:
                key: str | None = console.host_key(output_of(client, instance_id))
                if key is not None:
                    found[instance_id] = key
        if len(found) == len(set(instance_ids)) or time.monotonic() >= deadline:
            return found
        time.sleep(_POLL_SECONDS)


def main() -> None:
    """Wait until the instances have printed their SSH host keys, and report the keys."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_ids": {"type": "list", "elements": "str", "required": True},
            "wait_seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    client = aws.client(module, "ec2")
    with aws.explained(module, "read the console output"):
        host_keys = observe(client, module.params["instance_ids"], module.params["wait_seconds"])
    module.exit_json(changed=False, host_keys=host_keys)


if __name__ == "__main__":
    main()
