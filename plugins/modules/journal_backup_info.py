#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that lists, for each host, what an environment's backup bucket contains."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: journal_backup_info
short_description: List the contents of an environment's backup bucket by host
version_added: 0.2.0
description:
  - List for each host and instance the number, the size and the times of the objects that it has uploaded. Also list
    the names of other objects, such as archives that C(playbooks/backup.yml) has copied.
  - Return empty lists when the bucket does not exist.
  - Change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  bucket:
    description: The bucket's name.
    type: str
    required: true
  owner:
    description: The number of the AWS account that must own the bucket.
    type: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Know until when each host has shipped
  lowlatency.trading.journal_backup_info:
    bucket: trading-production-123456789012-us-east-1
    owner: "123456789012"
    region: us-east-1
  register: backups
"""

RETURN = r"""
hosts:
  description: >-
    The number, size and times of the objects that each instance of a host has uploaded, for each host the newest last.
  type: list
  elements: dict
  returned: success
  sample: [{"host": "trading-production-1", "instance": "i-0123456789abcdef0", "objects": 2880, "bytes": 1073741824,
            "oldest": "2026-11-29T08:00:00+00:00", "newest": "2026-11-30T08:00:00+00:00"}]
others:
  description: The names of all other objects.
  type: list
  elements: str
  returned: success
  sample: [trading-production-1.tar.gz]
locked_until:
  description: The time in UTC until which S3 locks any object against deletion; empty when none is locked.
  type: str
  returned: success
text:
  description: The same as lines of text.
  type: list
  elements: str
  returned: success
"""

from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws, journal_bucket


def observe(client: Any, bucket: str, owner: str) -> list[dict[str, Any]]:
    """Return all objects of the bucket in the form of ListObjectsV2, or an empty list when there is no bucket."""
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, ExpectedBucketOwner=owner)
        return [one for page in pages for one in page.get("Contents", [])]
    except client.exceptions.NoSuchBucket:
        return []


def lock_days(client: Any, bucket: str, owner: str) -> int:
    """Return for how many days S3 locks a new object against deletion, or 0 when it locks none."""
    try:
        answer = client.get_object_lock_configuration(Bucket=bucket, ExpectedBucketOwner=owner)
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in ("ObjectLockConfigurationNotFoundError", "NoSuchBucket"):
            return 0
        raise
    rule = answer["ObjectLockConfiguration"].get("Rule", {}).get("DefaultRetention", {})
    return int(rule.get("Days", 0)) + 365 * int(rule.get("Years", 0))


def locked_until(client: Any, bucket: str, owner: str) -> str:
    """Return the time until which the bucket's newest object version is locked against deletion.

    Return an empty text when no version is locked any more.
    """
    days = lock_days(client, bucket, owner)
    if not days:
        return ""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, ExpectedBucketOwner=owner)
    came = [one["LastModified"] for page in pages for one in page.get("Versions", [])]
    if not came:
        return ""
    until = max(came) + timedelta(days=days)
    return str(until.isoformat()) if until > datetime.now(timezone.utc) else ""


def holdings(objects: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return one entry for each host and instance (see RETURN), and the names of objects that no host uploaded."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    others = []
    for one in objects:
        whose = journal_bucket.whose(one["Key"])
        if whose:
            found.setdefault(whose, []).append(one)
        else:
            others.append(str(one["Key"]))
    hosts = [
        {
            "host": host,
            "instance": instance,
            "objects": len(shipped),
            "bytes": sum(one["Size"] for one in shipped),
            "oldest": min(one["LastModified"] for one in shipped).isoformat(),
            "newest": max(one["LastModified"] for one in shipped).isoformat(),
        }
        for (host, instance), shipped in found.items()
    ]
    return sorted(hosts, key=lambda one: (one["host"], one["newest"])), sorted(others)


def told(hosts: list[dict[str, Any]], others: list[str]) -> list[str]:
    """Return lines of text that say what each host has in the bucket, and which other objects are there."""
    lines = [
        f"{one['host']} on {one['instance']}: {one['objects']} objects, {one['bytes'] / (1 << 20):.1f} MiB, "
        f"{one['oldest']} to {one['newest']}"
        for one in hosts
    ]
    return [*lines, *others]


def main() -> None:
    """Read the bucket and report."""
    module = AnsibleAWSModule(
        argument_spec={"bucket": {"type": "str", "required": True}, "owner": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    given = module.params
    client = aws.client(module, "s3")
    with aws.explained(module, f"read the bucket {given['bucket']}"):
        hosts, others = holdings(observe(client, given["bucket"], given["owner"]))
        until = locked_until(client, given["bucket"], given["owner"])
    module.exit_json(changed=False, hosts=hosts, others=others, locked_until=until, text=told(hosts, others))


if __name__ == "__main__":
    main()
