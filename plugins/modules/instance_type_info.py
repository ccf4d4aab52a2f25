#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: instance_type_info
short_description: Read the data of an EC2 instance type, and the zones that offer it
version_added: 0.1.0
description:
  - Return the architecture, the size and the Availability Zones of one instance type in a region.
  - Fail when the region does not offer the type, or when the AWS account is on the free plan, which excludes the type.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  instance_type:
    description: The instance type.
    type: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Find where c6g.medium is offered
  lowlatency.trading.instance_type_info:
    instance_type: c6g.medium
    region: us-east-1
  register: type_info
"""

RETURN = r"""
architecture:
  description: The type's architecture, as EC2 names it.
  type: str
  returned: success
  sample: arm64
vcpus:
  description: Number of vCPUs.
  type: int
  returned: success
  sample: 1
cores:
  description: Number of cores.
  type: int
  returned: success
  sample: 1
memory_mib:
  description: Memory in MiB.
  type: int
  returned: success
  sample: 2048
availability_zones:
  description: The Availability Zones that offer the type, sorted by name.
  type: list
  elements: str
  returned: success
  sample: [us-east-1a, us-east-1b]
"""

import re
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

# The name of an Availability Zone is its region and a letter (EC2 user guide, "Regions and Zones"). Names of Local and
# Wavelength Zones contain a place (us-east-1-bos-1a). They are excluded: they have few services and other prices.
_AVAILABILITY_ZONE = re.compile(r"[a-z]{2}(-[a-z]+)+-\d[a-z]")
# The service AWS Free Tier has one endpoint for all regions, in this one.
_FREE_TIER_REGION = "us-east-1"


def zones_of(client: Any, instance_type: str) -> list[str]:
    """Return the Availability Zones that offer ``instance_type``, sorted by name."""
    pages = client.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": [instance_type]}],
    )
    offered = (offer["Location"] for page in pages for offer in page["InstanceTypeOfferings"])
    return sorted(zone for zone in offered if _AVAILABILITY_ZONE.fullmatch(zone))


def observe(client: Any, instance_type: str) -> tuple[list[str], dict[str, Any]]:
    """Return the type's zones, and its data in the form of DescribeInstanceTypes.

    Both are empty when the region lacks the type.
    """
    zones = zones_of(client, instance_type)
    if not zones:
        return [], {}
    return zones, client.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"][0]


def is_on_free_plan(client: Any) -> bool:
    """Return whether the AWS account is on the free plan, which may launch only free types.

    Return False when that is unknown.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        plan = client.get_account_plan_state()
    except (BotoCoreError, ClientError, AttributeError):  # AttributeError: botocore from before July 2025
        return False
    return bool(plan["accountPlanType"] == "FREE" and plan["accountPlanStatus"] != "EXPIRED")


def free_types(client: Any, architecture: str) -> list[str]:
    """Return the instance types of an architecture that an AWS account on the free plan may launch."""
    pages = client.get_paginator("describe_instance_types").paginate(
        Filters=[
            {"Name": "free-tier-eligible", "Values": ["true"]},
            {"Name": "processor-info.supported-architecture", "Values": [architecture]},
        ]
    )
    return sorted(found["InstanceType"] for page in pages for found in page["InstanceTypes"])


def free_plan_problem(module: Any, client: Any, found: dict[str, Any]) -> str:
    """Return why an AWS account on the free plan cannot launch this type, or an empty text."""
    from botocore.config import Config

    if found.get("FreeTierEligible"):
        return ""
    impatient = Config(connect_timeout=3, read_timeout=5, retries={"max_attempts": 0})
    if not is_on_free_plan(aws.client(module, "freetier", region=_FREE_TIER_REGION, config=impatient)):
        return ""
    architecture = found["ProcessorInfo"]["SupportedArchitectures"][0]
    return (
        f"trading_instance_type: this account is on AWS's free plan, which does not launch {found['InstanceType']}. "
        f"Upgrade it to the paid plan (Billing and Cost Management), or take one of: "
        f"{', '.join(free_types(client, architecture)) or 'none of this architecture'}"
    )


def main() -> None:
    """Read the type and its zones, and whether the AWS account may launch it."""
    module = AnsibleAWSModule(
        argument_spec={"instance_type": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    instance_type = module.params["instance_type"]
    client = aws.client(module, "ec2")
    with aws.explained(module, f"find the instance type {instance_type}"):
        zones, found = observe(client, instance_type)
        problem = free_plan_problem(module, client, found) if zones else ""
    if problem:
        module.fail_json(msg=problem)
    if not zones:
        module.fail_json(
            msg=f"trading_instance_type: {instance_type} is not offered in {module.region}; "
            "choose another type, or another trading_region"
        )
    module.exit_json(
        changed=False,
        architecture=found["ProcessorInfo"]["SupportedArchitectures"][0],
        vcpus=found["VCpuInfo"]["DefaultVCpus"],
        cores=found["VCpuInfo"].get("DefaultCores", found["VCpuInfo"]["DefaultVCpus"]),
        memory_mib=found["MemoryInfo"]["SizeInMiB"],
        availability_zones=zones,
    )


if __name__ == "__main__":
    main()
