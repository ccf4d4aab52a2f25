#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: cost_estimate
short_description: Estimate the monthly cost of a deployment
version_added: 0.1.0
description:
  - Estimate a month's cost, one line for each kind of resource, from a table of prices. Fail when the cost is above the
    budget.
  - Call no API and change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  prices:
    description: The table of prices, as in C(files/prices.yml) of this collection.
    type: dict
    required: true
  region:
    description: The region of the deployment. The text warns when the table's prices are those of another region.
    type: str
    required: true
  instance_type:
    description: The instance type.
    type: str
    required: true
  instances:
    description: The number of instances.
    type: int
    required: true
  volume_gib:
    description: The size of all volumes together in GiB.
    type: int
    required: true
  public_addresses:
    description: The number of public IPv4 addresses.
    type: int
    required: true
  custom_metrics:
    description: The number of custom metrics.
    type: int
    required: true
  alarms:
    description: The number of metric alarms.
    type: int
    required: true
  composite_alarms:
    description: The number of composite alarms.
    type: int
    required: true
  dashboards:
    description: The number of dashboards.
    type: int
    required: true
  logs_gib:
    description: The logs that CloudWatch receives, in GiB a month.
    type: float
    required: true
  logs_kept_gib:
    description: The logs that CloudWatch stores, in GiB.
    type: float
    required: true
  snapshots_gib:
    description: The stored EBS snapshots, in GiB.
    type: float
    required: true
  data_out_gib:
    description: The data sent to the internet, in GiB a month.
    type: float
    required: true
  generator_type:
    description: The instance type of load generators.
    type: str
    default: ""
  generators:
    description: The number of load generators.
    type: int
    default: 0
  generator_hours:
    description: The hours that each load generator runs in a month.
    type: float
    default: 0
  backup_hosts:
    description: The number of hosts that copy their journals to a bucket.
    type: int
    default: 0
  backup_gib_per_day:
    description: The journal and snapshots that each host copies to the bucket, in GiB a day.
    type: float
    default: 0
  backup_days:
    description: The days for which the bucket keeps these objects.
    type: int
    default: 0
  backup_rpo_seconds:
    description: >-
      The seconds after which a journal record is in the bucket at the latest. A host puts an object into the bucket
      once in each half of this time.
    type: int
    default: 60
  balancers:
    description: The number of Network Load Balancers.
    type: int
    default: 0
  balancer_units:
    description: The load balancer capacity units (NLCU) that each balancer uses in an hour, on average.
    type: float
    default: 1
  offers:
    description:
      - The prices of the instance type, as M(lowlatency.trading.price_info) returns them. The first is the on-demand
        price and replaces the one in O(prices). The text compares the total at all of these prices.
    type: list
    elements: dict
    default: []
  budget_usd:
    description: The most that a month may cost in USD; 0 for no limit.
    type: float
    default: 0
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Know what a month costs
  lowlatency.trading.cost_estimate:
    prices: "{{ lookup('ansible.builtin.file', 'prices.yml') | from_yaml }}"
    region: us-east-1
    instance_type: c6g.medium
    instances: 1
    volume_gib: 8
    public_addresses: 1
    custom_metrics: 31
    alarms: 12
    composite_alarms: 1
    dashboards: 1
    logs_gib: 1
    logs_kept_gib: 1
    snapshots_gib: 0
    data_out_gib: 10
    budget_usd: 40
"""

RETURN = r"""
total_usd:
  description: The estimated cost in USD a month.
  type: float
  returned: success
  sample: 36.14
lines:
  description: The estimate's lines, each with what, how and usd.
  type: list
  elements: dict
  returned: success
  sample: [{"what": "compute", "how": "1 x c6g.medium, 730 h", "usd": 24.82}]
text:
  description: The estimate as text.
  type: list
  elements: str
  returned: success
  sample: ["compute  1 x c6g.medium, 730 h  24.82"]
"""

import math
from decimal import Decimal
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import cost


def heading(prices: dict[str, str], region: str) -> str:
    """Return the estimate's heading, which says from which region and day the prices are."""
    foreign = "" if region == prices["region"] else f", which {region} is not: its own prices differ"
    return f"List prices of {prices['region']} as of {prices['as_of']} without tax{foreign}"


def plan(given: dict[str, Any]) -> tuple[list[cost.Line], list[str]]:
    """Return the month's estimate twice: as lines, and as text with a heading.

    Raises UnknownPriceError for an unknown instance type, and KeyError when the table of prices lacks another price.
    """
    used = cost.Amounts(**{name: given[name] for name in cost.Amounts._fields})
    prices = {**given["prices"]}
    if given["offers"] and given["offers"][0]["usd_per_hour"] is not None:
        told = {used.instance_type: given["offers"][0]["usd_per_hour"]}
        prices["instance_per_hour"] = {**prices["instance_per_hour"], **told}
    lines = cost.estimate(prices, used)
    beside = cost.side_by_side(lines, used, given["offers"], prices["hours_per_month"])
    busy = cost.busy_backup(prices, used)
    return lines, [heading(prices, given["region"]), *cost.table(lines), *busy, *beside]


def main() -> None:
    """Estimate the cost, and compare it with the budget."""
    optional = cost.Amounts._field_defaults
    amounts = {name: {"type": "int", "required": True} for name in cost.Amounts._fields if name not in optional}
    for name in ("logs_gib", "logs_kept_gib", "snapshots_gib", "data_out_gib"):
        amounts[name]["type"] = "float"
    amounts["instance_type"]["type"] = "str"
    module = AnsibleModule(
        argument_spec={
            "prices": {"type": "dict", "required": True},
            "region": {"type": "str", "required": True},
            **amounts,
            "generator_type": {"type": "str", "default": ""},
            "generators": {"type": "int", "default": 0},
            "generator_hours": {"type": "float", "default": 0},
            "backup_hosts": {"type": "int", "default": 0},
            "backup_gib_per_day": {"type": "float", "default": 0},
            "backup_days": {"type": "int", "default": 0},
            "backup_rpo_seconds": {"type": "int", "default": 60},
            "balancers": {"type": "int", "default": 0},
            "balancer_units": {"type": "float", "default": 1},
            "offers": {"type": "list", "elements": "dict", "default": []},
            "budget_usd": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        lines, text = plan(given)
    except cost.UnknownPriceError as error:
        module.fail_json(
            msg=f"aws_preflight_prices: there is no price for {error}; give it, for example "
            f'-e \'{{"aws_preflight_prices": {{"instance_per_hour": {{"{error}": 0.1}}}}}}\''
        )
    except KeyError as error:
        module.fail_json(msg=f"aws_preflight_prices: the table has no entry {error}")
    total = cost.total(lines)
    budget = Decimal(str(given["budget_usd"]))
    if budget and total > budget:
        module.fail_json(
            msg=f"A month would cost {total} USD, the budget is {budget}: "
            f"choose less, or allow it with -e trading_budget_usd={math.ceil(total)}\n" + "\n".join(text)
        )
    module.exit_json(
        changed=False,
        total_usd=float(total),
        lines=[{"what": line.what, "how": line.how, "usd": float(line.usd)} for line in lines],
        text=text,
    )


if __name__ == "__main__":
    main()
