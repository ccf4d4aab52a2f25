#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: service_quota_info
short_description: Read how much of an AWS account's quotas is left in a region
version_added: 0.2.0
description:
  - Read the quotas that a trading environment needs, and how much of each is in use. Fail when less is left than
    needed.
  - Return no limit for a quota that Service Quotas does not have, or that the caller may not read. The module does not
    fail because of such a quota.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  needed:
    description:
      - The amounts that are needed in addition to the present use, by the name of the quota (V(vcpus), V(spot_vcpus),
        V(elastic_ips), V(vpcs), V(internet_gateways)).
      - Name every quota that shall be read.
    type: dict
    required: true
  instance_type:
    description: >-
      The instance type whose vCPUs are needed. The vCPU quotas are left out when they do not count this type.
    type: str
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Know that two more hosts of one vCPU can run
  lowlatency.trading.service_quota_info:
    region: us-east-1
    needed: {vcpus: 2, vpcs: 1}
    instance_type: c6g.medium
"""

RETURN = r"""
quotas:
  description: The quotas in O(needed), each with name, code, counts, limit, used and left.
  type: list
  elements: dict
  returned: success
  sample: [{"name": "vcpus", "code": "L-1216C47A", "counts": "vCPUs", "limit": 5.0, "used": 1, "left": 4}]
"""

from collections.abc import Iterable
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, quotas

_NOT_TOLD = ("NoSuchResourceException", *aws.NOT_ALLOWED)
_VCPUS = ("vcpus", "spot_vcpus")


def limit_of(client: Any, quota: quotas.Quota) -> float | None:
    """Return the quota's limit in the AWS account, or None when it is unknown."""
    from botocore.exceptions import ClientError

    try:
        return float(client.get_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)["Quota"]["Value"])
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NOT_TOLD:
            raise
    return None


def used_of(client: Any, name: str) -> int:
    """Return how much of a quota is in use in the region, in the quota's own unit."""
    if name == "elastic_ips":
        return len(client.describe_addresses()["Addresses"])
    if name in _VCPUS:
        pages = client.get_paginator("describe_instances").paginate()
        instances = [one for page in pages for reservation in page["Reservations"] for one in reservation["Instances"]]
        return quotas.vcpus_in_use(instances, spot=name == "spot_vcpus")
    operation, key = {
        "vpcs": ("describe_vpcs", "Vpcs"),
        "internet_gateways": ("describe_internet_gateways", "InternetGateways"),
    }[name]
    return sum(len(page[key]) for page in client.get_paginator(operation).paginate())


def observe(module: Any, names: Iterable[str]) -> tuple[dict[str, float | None], dict[str, int]]:
    """Return two dictionaries whose keys are the names of the quotas: the limits, and the present uses.

    A limit is None when it is unknown.
    """
    with aws.explained(module, "read the quotas"):
        service_quotas = aws.client(module, "service-quotas")
        limits = {name: limit_of(service_quotas, quotas.QUOTAS[name]) for name in names}
    with aws.explained(module, "count what the quotas limit"):
        ec2 = aws.client(module, "ec2")
        return limits, {name: used_of(ec2, name) for name in names}


def main() -> None:
    """Read limits and uses of the quotas, and compare what is left with what is needed."""
    module = AnsibleAWSModule(
        argument_spec={"needed": {"type": "dict", "required": True}, "instance_type": {"type": "str"}},
        supports_check_mode=True,
    )
    needed = {name: int(count) for name, count in module.params["needed"].items()}
    unknown = sorted(set(needed) - set(quotas.QUOTAS))
    if unknown:
        module.fail_json(msg=f"needed: there is no quota {unknown[0]}; there are {', '.join(quotas.QUOTAS)}")
    instance_type = module.params["instance_type"]
    if instance_type and not quotas.is_standard(instance_type):
        needed = {name: count for name, count in needed.items() if name not in _VCPUS}
    found = quotas.rows(*observe(module, needed))
    problems = list(quotas.shortages(found, needed))
    if problems:
        module.fail_json(msg="\n".join(problems), quotas=found)
    module.exit_json(changed=False, quotas=found)


if __name__ == "__main__":
    main()
