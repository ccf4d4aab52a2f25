#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: environments_info
short_description: List the trading environments of an AWS account
version_added: 0.2.0
description:
  - List the environments with at least one AWS resource whose names begin with a given text.
  - Change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  beginning:
    description: The beginning of the environments' names.
    type: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: List what tests have left
  lowlatency.trading.environments_info:
    beginning: test-
    region: us-east-1
  register: left
"""

RETURN = r"""
environments:
  description: >-
    The resources of each environment by its name. Each resource is a dictionary of kind, id, name and state.
  type: dict
  returned: success
  sample: {"test-a": [{"kind": "vpc", "id": "vpc-1", "name": "trading-test-a-vpc", "state": "available"}]}
"""

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws
from ansible_collections.lowlatency.trading.plugins.module_utils.aws.deployment import environments


def observe(module: AnsibleAWSModule) -> dict[str, list[dict[str, str]]]:
    """Return a dictionary: environment's name → its resources, as dictionaries of kind, id, name and state."""
    beginning = module.params["beginning"]
    with aws.explained(module, f"list the environments whose name begins with {beginning}"):
        return environments(lambda service: aws.client(module, service), beginning)


def main() -> None:
    """Read the environments and report them."""
    module = AnsibleAWSModule(argument_spec={"beginning": {"type": "str", "required": True}}, supports_check_mode=True)
    module.exit_json(changed=False, environments=observe(module))


if __name__ == "__main__":
    main()
