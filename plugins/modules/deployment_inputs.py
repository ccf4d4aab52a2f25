#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: deployment_inputs
short_description: Check the inputs of a deployment before anything is created
version_added: 0.1.0
description:
  - Check names, networks, the SSH public key and tags. Fail with one message that lists every problem by the name of
    its variable.
  - Call no API and change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  environment:
    description: The environment, which becomes part of every name.
    type: str
    required: true
  region:
    description: The AWS region.
    type: str
    required: true
  endpoint_url:
    description: The endpoint that AWS clients shall use, as in E(AWS_ENDPOINT_URL); empty for AWS's own.
    type: str
    default: ""
  instance_count:
    description: The number of hosts.
    type: int
    required: true
  spot:
    description: Say whether the hosts are Spot instances.
    type: bool
    default: false
    version_added: 0.2.0
  hours:
    description: The hours at which the hosts are started and stopped; empty for hosts that always run.
    type: dict
    default: {}
    version_added: 0.2.0
  operator_cidr:
    description: The network that may use SSH and telemetry.
    type: str
    required: true
  client_cidrs:
    description: The networks that may send orders and read market data.
    type: list
    elements: str
    required: true
  operator_ipv6_cidrs:
    description: The IPv6 networks that may use SSH and telemetry.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  client_ipv6_cidrs:
    description: The IPv6 networks that may send orders and read market data.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  allow_world:
    description: Say whether C(0.0.0.0/0) and C(::/0) are allowed as networks.
    type: bool
    required: true
  vpc_cidr:
    description: The network of the VPC.
    type: str
    required: true
  subnet_cidr:
    description: The network of the subnet.
    type: str
    required: true
  public_key_file:
    description: The file of the user's SSH public key. An empty value is reported as a problem.
    type: path
    required: true
  tags:
    description: The user's own tags.
    type: dict
    required: true
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Refuse unusable inputs at once
  lowlatency.trading.deployment_inputs:
    environment: demo
    region: us-east-1
    instance_count: 1
    operator_cidr: 198.51.100.7/32
    client_cidrs: []
    allow_world: false
    vpc_cidr: 10.77.0.0/16
    subnet_cidr: 10.77.1.0/24
    public_key_file: ~/.ssh/id_ed25519.pub
    tags: {}
"""

RETURN = r"""
problems:
  description: One sentence for each unusable input.
  type: list
  elements: str
  returned: failure
  sample: ["trading_operator_cidr is not set: give the network you work from"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import inputs


def observe(path: str) -> str | None:
    """Return the text of the public key's file, or None when the file cannot be read as text."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def plan(given: dict[str, Any], public_key: str | None) -> list[str]:
    """Return every problem of the inputs; ``public_key`` is the text of the key's file."""
    return [
        *inputs.environment_problems(given["environment"]),
        *inputs.region_problems(given["region"]),
        *inputs.endpoint_problems(given["region"], given["endpoint_url"]),
        *inputs.count_problems(given["instance_count"]),
        *inputs.hours_problems(given["hours"], given["spot"]),
        *inputs.cidr_problems(given["operator_cidr"], given["client_cidrs"], given["allow_world"]),
        *inputs.ipv6_cidr_problems(given["operator_ipv6_cidrs"], given["client_ipv6_cidrs"], given["allow_world"]),
        *inputs.network_problems(given["vpc_cidr"], given["subnet_cidr"]),
        *inputs.public_key_problems(given["public_key_file"], public_key),
        *inputs.tag_problems(given["tags"]),
    ]


def main() -> None:
    """Collect every problem of the inputs, and fail when there is any."""
    module = AnsibleModule(
        argument_spec={
            "environment": {"type": "str", "required": True},
            "region": {"type": "str", "required": True},
            "endpoint_url": {"type": "str", "default": ""},
            "instance_count": {"type": "int", "required": True},
            "spot": {"type": "bool", "default": False},
            "hours": {"type": "dict", "default": {}},
            "operator_cidr": {"type": "str", "required": True},
            "client_cidrs": {"type": "list", "elements": "str", "required": True},
            "operator_ipv6_cidrs": {"type": "list", "elements": "str", "default": []},
            "client_ipv6_cidrs": {"type": "list", "elements": "str", "default": []},
            "allow_world": {"type": "bool", "required": True},
            "vpc_cidr": {"type": "str", "required": True},
            "subnet_cidr": {"type": "str", "required": True},
            "public_key_file": {"type": "path", "required": True, "no_log": False},
            "tags": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    problems = plan(module.params, observe(module.params["public_key_file"]))
    if problems:
        module.fail_json(msg="\n".join(problems), problems=problems)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
