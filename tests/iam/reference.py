"""Looks up IAM actions in AWS's service authorization reference. The package parliament contains a copy of it."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

# Actions that are missing from parliament's older copy. They apply to no type of resource:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsfreetier.html
_NEWER = frozenset({"freetier:GetAccountPlanState"})


class Kind(NamedTuple):
    """A type of resource that an action can apply to.

    `by_tag` tells whether a policy can have a condition on the resource's tags. `by_request_tag` tells whether it can
    have a condition on the tags in the request.
    """

    name: str
    required: bool
    by_tag: bool
    by_request_tag: bool


def _folder() -> Path:
    found = importlib.util.find_spec("parliament")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@functools.cache
def _services() -> dict[str, Any]:
    text = (_folder() / "iam_definition.json").read_text(encoding="utf-8")
    return {service["prefix"]: service for service in json.loads(text)}


@functools.cache
def kinds(action: str) -> dict[str, Kind]:
    """Return the types of resource that an action can apply to, by their names. Some actions have no type."""
    if action in _NEWER:
        return {}
    service, _, name = action.partition(":")
    (privilege,) = [one for one in _services()[service]["privileges"] if one["privilege"] == name]
    return {
        one["resource_type"].rstrip("*"): Kind(
            one["resource_type"].rstrip("*"),
            one["resource_type"].endswith("*"),
            any(key.startswith("aws:ResourceTag") for key in one["condition_keys"]),
            any(key.startswith("aws:RequestTag") for key in one["condition_keys"]),
        )
        for one in privilege["resource_types"]
        if one["resource_type"]
    }


@functools.cache
def known(action: str) -> bool:
    """Return whether parliament's copy contains the action."""
    service, _, name = action.partition(":")
    return any(one["privilege"] == name for one in _services().get(service, {"privileges": []})["privileges"])


def reads(action: str) -> bool:
    """Return whether the action only reads. If parliament's copy lacks the action, the action's name decides."""
    service, _, name = action.partition(":")
    if not known(action):
        return name.startswith(("Describe", "Get", "List"))
    (level,) = [one["access_level"] for one in _services()[service]["privileges"] if one["privilege"] == name]
    return level in ("List", "Read")


def ec2_arn(kind: str, identity: str, region: str, account: str) -> str:
    """Return the ARN of a resource of EC2."""
    (arn,) = [one["arn"] for one in _services()["ec2"]["resources"] if one["resource"] == kind]
    head, _, _ = str(arn).partition("/")
    for word, value in {"${Partition}": "aws", "${Region}": region, "${Account}": account}.items():
        head = head.replace(word, value)
    return f"{head}/{identity}"
