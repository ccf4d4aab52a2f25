"""Reads the policy documents in files/iam, and tells which of them a playbook run needs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "files" / "iam"
# The greatest number of characters in a managed policy, without white space:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
LARGEST = 6144
BASE = ("base-ec2", "base-account")
# For some playbook variables, the document that a run needs when the variable switches an option on. The document is
# also needed to remove the option's resources.
BY_VARIABLE = {
    "trading_backup_snapshots": "backup",
    "aws_monitoring_budget_alert": "budget",
    "trading_budget_alert": "budget",
    "trading_hours": "schedule",
    "trading_fleet": "fleet",
    "trading_spot": "spot",
    "aws_network_flow_logs": "flow-logs",
    "aws_identity_session_manager": "session-manager",
    "acceptance_part": "cloudformation",
}

Statement = dict[str, Any]


def names() -> list[str]:
    """Return the names of all policy documents, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@functools.cache
def statements(name: str) -> list[Statement]:
    """Return a document's statements. In each statement, Action and Resource are lists."""
    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [
        {**one, "Action": as_list(one["Action"]), "Resource": as_list(one["Resource"])} for one in document["Statement"]
    ]


def size(name: str) -> int:
    """Return the number of characters in a document without white space, which AWS does not count."""
    return len("".join((FOLDER / f"{name}.json").read_text(encoding="utf-8").split()))


def as_list(value: Any) -> list[Any]:
    """Return a list as it is. Return any other value as a list that contains only this value."""
    return list(value) if isinstance(value, list) else [value]


def actions(name: str) -> set[str]:
    """Return every action that a document names."""
    return {action for one in statements(name) for action in one["Action"]}


def needed(variables: Mapping[str, str]) -> list[str]:
    """Return the names of the policy documents that a playbook run with these extra variables needs."""
    asked = {document for name, document in BY_VARIABLE.items() if variables.get(name, "") not in ("", "false")}
    return [*BASE, *sorted(asked)]


def without(action: str, given: list[Statement]) -> list[Statement]:
    """Return copies of the statements. In each copy, this action is removed from the list of actions."""
    return [{**one, "Action": [name for name in one["Action"] if name != action]} for one in given]
