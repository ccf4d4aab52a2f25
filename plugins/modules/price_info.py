#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: price_info
short_description: Read the prices of an EC2 instance type on demand, on Spot and reserved
version_added: 0.2.0
description:
  - Read from AWS's price list the on-demand price, and the price of a standard reservation for one year without upfront
    payment. Read from EC2 the present Spot price.
  - Take prices from O(prices) when the price list does not answer within a few seconds, or when the caller may not read
    it. The result has the source and the date of each price.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  instance_type:
    description: The instance type.
    type: str
    required: true
  prices:
    description: The table of prices, as in C(files/prices.yml) of this collection.
    type: dict
    required: true
  own_prices:
    description: The user's own prices in the form of O(prices). They replace AWS's prices.
    type: dict
    default: {}
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Know what c6g.medium costs
  lowlatency.trading.price_info:
    region: us-east-1
    instance_type: c6g.medium
    prices: "{{ lookup('ansible.builtin.file', 'prices.yml') | from_yaml }}"
"""

RETURN = r"""
offers:
  description: >-
    The offers on-demand, Spot and 1-year reserved, each with name, usd_per_hour (null when the price is unknown) and
    source.
  type: list
  elements: dict
  returned: success
  sample: [{"name": "on-demand", "usd_per_hour": 0.034, "source": "Price List API, 2026-11-01"}]
"""

from datetime import datetime, timezone
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, offers

# Only a few regions have the API of the price list, which has the prices of all regions.
_PRICE_LIST_REGION = "us-east-1"


def listed(client: Any, instance_type: str, region: str) -> dict[str, tuple[float, str]]:
    """Return a dictionary: offer → (USD an hour, date), from AWS's price list.

    It is empty when the list cannot be read. The caller then uses its own table of prices.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    filters = offers.product_filters(instance_type, region)
    try:
        return offers.listed(client.get_products(ServiceCode="AmazonEC2", Filters=filters)["PriceList"])
    except (BotoCoreError, ClientError):
        return {}


def spot(client: Any, instance_type: str) -> tuple[float, str] | None:
    """Return (USD an hour, "zone, since date") of the lowest current Spot price, or None when it is unknown."""
    from botocore.exceptions import ClientError

    # With this start time EC2 returns only the current prices, not those of the last 90 days.
    now = datetime.now(timezone.utc)
    try:
        answer = client.describe_spot_price_history(
            InstanceTypes=[instance_type], ProductDescriptions=["Linux/UNIX"], StartTime=now
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in aws.NOT_ALLOWED:
            raise
        return None
    return offers.lowest_spot(answer["SpotPriceHistory"])


def observe(module: Any, instance_type: str) -> tuple[dict[str, tuple[float, str]], tuple[float, str] | None]:
    """Return two things: the prices of AWS's price list (see `listed`), and the Spot price (see `spot`)."""
    from botocore.config import Config

    impatient = Config(connect_timeout=3, read_timeout=5, retries={"max_attempts": 0})
    price_list = aws.client(module, "pricing", region=_PRICE_LIST_REGION, config=impatient)
    told = listed(price_list, instance_type, module.region)
    with aws.explained(module, f"read the Spot price of {instance_type}"):
        return told, spot(aws.client(module, "ec2"), instance_type)


def main() -> None:
    """Read the prices and report them."""
    module = AnsibleAWSModule(
        argument_spec={
            "instance_type": {"type": "str", "required": True},
            "prices": {"type": "dict", "required": True},
            "own_prices": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    instance_type = module.params["instance_type"]
    told, spot_price = observe(module, instance_type)
    found = offers.choose(instance_type, told, spot_price, module.params["prices"], module.params["own_prices"])
    module.exit_json(changed=False, offers=found)


if __name__ == "__main__":
    main()
