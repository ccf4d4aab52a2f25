#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that lists who changed an environment's AWS resources, from CloudTrail's event history."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: aws_events_info
short_description: List who changed the AWS resources of one environment
version_added: 0.2.0
description:
  - Read the event history that CloudTrail keeps for 90 days in every account. Return the requests that changed a
    resource of one environment, and those that were refused.
  - Read the events of the environment's region, and of the region that has the events of IAM, usually us-east-1.
  - Call CloudTrail at most twice a second, which is its limit.
  - Report whether a trail is on.
  - Change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  environment:
    description: The environment, as in the tag C(Environment).
    type: str
    required: true
  resources:
    description: >-
      The ids and names of the environment's present resources. Ids of earlier resources are taken from the events.
    type: list
    elements: str
    default: []
  days:
    description: The number of days to look back, 1 to 90.
    type: int
    default: 7
  pages:
    description: The largest number of pages, of 50 events of the whole account each, that are read in a region.
    type: int
    default: 1000
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: List who changed something of the environment demo in the last week
  lowlatency.trading.aws_events_info:
    environment: demo
    resources: [i-0123456789abcdef0, trading-demo-vpc]
    region: eu-central-1
  register: account
"""

RETURN = r"""
events:
  description: The events, the oldest first.
  type: list
  elements: dict
  returned: success
  sample: [{"time": "2026-11-30T04:00:00Z", "kind": "aws", "who": "arn:aws:iam::123456789012:user/anna",
            "what": "TerminateInstances i-1 from 198.51.100.7", "count": 1}]
notes:
  description: Notes on what the list lacks, and whether a trail is on.
  type: list
  elements: str
  returned: success
"""

import datetime
import json
import re
import time
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

Event = dict[str, Any]

# CloudTrail accepts two requests a second for each account and region:
# https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
_PAUSE_S = 0.5
_DAYS_KEPT = 90
# The region that has the events of IAM, by the beginning of the environment's region.
_GLOBAL = {"us-gov-": "us-gov-west-1", "cn-": "cn-north-1", "": "us-east-1"}
# The form of ids of EC2 resources, such as i-0123456789abcdef0.
_ID = re.compile(r"\b(?:[a-z]+-)+(?:[0-9a-f]{17}|[0-9a-f]{8})\b")
_NO_TRAIL = (
    "no trail is on: this is the history that every account has, which ends after 90 days and does not tell who read "
    "or wrote objects; a trail keeps more, for longer"
)


def ours_in(text: str, environment: str, known: set[str]) -> bool:
    """Return whether an event's text names the environment: by its tag, by a resource's name, or by a known id."""
    name = re.escape(environment)
    tag = rf'"key":\s*"Environment",\s*"value":\s*"{name}"'
    # The environment prod must not match names of the environment prod-b, which begin with trading-prod-b. Names of
    # EC2's resources occur in the text as tags.
    names = rf'\btrading-{name}(?:["/]|-(?:alarms|host|[0-9]{{1,3}})["/]|-[0-9]{{12}}-)'
    paths = rf"/trading/{name}/|{aws.PROJECT}/{name}/"
    if (aws.PROJECT in text and re.search(tag, text)) or re.search(f"{names}|{paths}", text):
        return True
    return bool(known & (set(_ID.findall(text)) | set(re.findall(r"[\w./:-]+", text))))


def learned_from(detail: dict[str, Any]) -> set[str]:
    """Return the ids of the resources that a request created: the ids that only its response contains."""
    answer, request = (json.dumps(detail.get(key)) for key in ("responseElements", "requestParameters"))
    return set(_ID.findall(answer)) - set(_ID.findall(request))


def described(event: dict[str, Any], detail: dict[str, Any]) -> Event:
    """Return one event as an entry of the timeline: time, kind, who, what and count."""
    identity = detail.get("userIdentity") or {}
    who = identity.get("arn") or identity.get("invokedBy") or event.get("Username") or "unknown"
    things = sorted({str(one["ResourceName"]) for one in event.get("Resources", []) if one.get("ResourceName")})
    what = f"{event['EventName']} {', '.join(things[:4])}{' and more' if len(things) > 4 else ''}".strip()
    if address := detail.get("sourceIPAddress"):
        what += f" from {address}"
    if error := detail.get("errorCode"):
        what += f", refused: {error}"
    moment = event["EventTime"].astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"time": moment, "kind": "aws", "who": _shown(who), "what": _shown(what), "count": 1}


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))[:300]


def of_environment(events: Iterable[dict[str, Any]], environment: str, known: set[str]) -> list[Event]:
    """Return the timeline's entries for the events of the environment, the oldest first.

    The ids of resources that one event created help to recognise later events.
    """
    known = set(known)
    found = []
    for event in sorted(events, key=lambda event: event["EventTime"]):
        text = event.get("CloudTrailEvent") or "{}"
        if ours_in(text, environment, known):
            detail = json.loads(text)
            known |= learned_from(detail)
            found.append(described(event, detail))
    return found


def changes(client: Any, days: int, most_pages: int) -> Iterator[dict[str, Any]]:
    """Yield the AWS account's events of requests that can change something, the newest first.

    An empty event at the end means that more than ``most_pages`` pages of events exist.
    """
    until = datetime.datetime.now(datetime.timezone.utc)
    pages = client.get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": "ReadOnly", "AttributeValue": "false"}],
        StartTime=until - datetime.timedelta(days=days),
        EndTime=until,
    )
    for number, page in enumerate(pages, 1):
        yield from page["Events"]
        if not page.get("NextToken"):
            return
        if number == most_pages:
            yield {}
            return
        time.sleep(_PAUSE_S)


def has_trail(client: Any) -> bool:
    """Return whether any trail of the AWS account is logging. A trail stores the events in a bucket."""
    trails = client.describe_trails(includeShadowTrails=True)["trailList"]
    return any(client.get_trail_status(Name=trail["TrailARN"])["IsLogging"] for trail in trails)


def observe(module: AnsibleAWSModule) -> tuple[list[Event], list[str]]:
    """Return the environment's events, and notes about them.

    One note says whether a trail is on. Other notes say which events were not read.
    """
    given = module.params
    found, notes = [], []
    central = next(name for beginning, name in _GLOBAL.items() if module.region.startswith(beginning))
    for region in dict.fromkeys([module.region, central]):
        client = aws.client(module, "cloudtrail", region=region)
        with aws.explained(module, f"read the event history of {region}"):
            events = list(changes(client, given["days"], given["pages"]))
        if events and not events[-1]:
            events.pop()
            notes.append(f"{region} has more than {given['pages']} pages of events; the earliest were not read")
        found += of_environment(events, given["environment"], set(given["resources"]))
    client = aws.client(module, "cloudtrail")
    with aws.explained(module, "read whether a trail is on"):
        notes.append("a trail is on" if has_trail(client) else _NO_TRAIL)
    return sorted(found, key=lambda event: str(event["time"])), notes


def main() -> None:
    """Read the events and report them."""
    module = AnsibleAWSModule(
        argument_spec={
            "environment": {"type": "str", "required": True},
            "resources": {"type": "list", "elements": "str", "default": []},
            "days": {"type": "int", "default": 7},
            "pages": {"type": "int", "default": 1000},
        },
        supports_check_mode=True,
    )
    if not 1 <= module.params["days"] <= _DAYS_KEPT:
        module.fail_json(msg=f"days: {module.params['days']} is not 1 to {_DAYS_KEPT}, which CloudTrail keeps")
    events, notes = observe(module)
    module.exit_json(changed=False, events=events, notes=notes)


if __name__ == "__main__":
    main()
