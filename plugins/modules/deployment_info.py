#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: deployment_info
short_description: List the AWS resources of one trading environment
version_added: 0.1.0
description:
  - List every AWS resource that belongs to one environment, and the wanted resources that do not exist.
  - Find EC2 resources by their tags C(Project=lowlatency-trading) and C(Environment), and resources of other services
    by name.
  - Change nothing. As the first task of a run this also proves that the credentials, the region and the endpoint work.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  environment:
    description: The environment, as in the tag C(Environment).
    type: str
    required: true
  vpc_cidr:
    description:
      - The network that the environment's VPC shall have.
      - Fail when the VPC exists with another network. Also fail when the VPC does not exist yet and the network
        overlaps with another VPC of the region.
      - Give a warning when EBS encrypts with a key of the account's own, for which the deployer needs more
        permissions.
    type: str
  wanted:
    description: The names of the resources that shall exist, by kind as in RV(resources).
    type: dict
    default: {}
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: List what the environment demo has on AWS
  lowlatency.trading.deployment_info:
    environment: demo
    region: us-east-1
  register: deployment
"""

RETURN = r"""
account:
  description: The number of the AWS account.
  type: str
  returned: success
  sample: "123456789012"
arn:
  description: The identity that made the request.
  type: str
  returned: success
  sample: arn:aws:iam::123456789012:user/operator
partition:
  description: The AWS partition, as in the account's ARNs.
  type: str
  returned: success
  sample: aws
region:
  description: The region whose resources are listed.
  type: str
  returned: success
  sample: us-east-1
resources:
  description: The existing resources, each a dictionary of kind, id, name and state. A target group also has its port.
  type: list
  elements: dict
  returned: success
  sample: [{"kind": "vpc", "id": "vpc-1", "name": "trading-demo-vpc", "state": "available"}]
missing:
  description: The resources of O(wanted) that do not exist, each a dictionary of kind and name.
  type: list
  elements: dict
  returned: success
  sample: [{"kind": "instance", "name": "trading-demo-1"}]
"""

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import address_plan, aws
from ansible_collections.lowlatency.trading.plugins.module_utils.aws.deployment import missing, observe


def warn_of_own_key(module: AnsibleAWSModule) -> None:
    """Give a warning when EBS encrypts volumes with a key of the AWS account, which needs more permissions."""
    with aws.explained(module, "read the default key of EBS"):
        key = aws.client(module, "ec2").get_ebs_default_kms_key_id()["KmsKeyId"]
    if not key.endswith("alias/aws/ebs"):
        module.warn(
            f"EBS encrypts with {key} here: the deployer also needs files/iam/customer-key.json, and the key's policy"
            " has to let IAM decide; otherwise hosts end right after their launch (Client.InternalError)"
        )


def main() -> None:
    """Read the caller's identity and the environment's resources, and compare these with the wanted ones."""
    module = AnsibleAWSModule(
        argument_spec={
            "environment": {"type": "str", "required": True},
            "vpc_cidr": {"type": "str"},
            "wanted": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    environment = module.params["environment"]
    with aws.explained(module, "ask AWS who is calling"):
        identity = aws.client(module, "sts").get_caller_identity()
    with aws.explained(module, f"list the resources of environment {environment}"):
        present = observe(lambda service: aws.client(module, service), environment)
    if module.params["vpc_cidr"]:
        with aws.explained(module, "read the VPCs"):
            pages = aws.client(module, "ec2").get_paginator("describe_vpcs").paginate()
            vpcs = [vpc for page in pages for vpc in page["Vpcs"]]
        tags = {"Project": aws.PROJECT, "Environment": environment}
        problems = list(address_plan.problems(vpcs, tags, module.params["vpc_cidr"]))
        if problems:
            module.fail_json(msg="\n".join(problems), problems=problems)
        warn_of_own_key(module)
    module.exit_json(
        changed=False,
        account=identity["Account"],
        arn=identity["Arn"],
        partition=identity["Arn"].split(":")[1],
        region=module.region,
        resources=present,
        missing=missing(module.params["wanted"], present),
    )


if __name__ == "__main__":
    main()
