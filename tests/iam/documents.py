"""Reads the policy documents in files/iam, and tells which documents a run of a playbook needs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "files" / "iam"
# The most characters in a managed policy, without white space:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
LARGEST = 6144
BASE = ("base-ec2", "base-account")
# A variable, and the document that is needed when the variable switches its option on. The removal of the option's
# resources needs the document as well.
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
    """Return the names of all documents, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@functools.cache
def statements(name: str) -> list[Statement]:
    """Return a document's statements. In each, Action and Resource are lists."""
    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [
        {**one, "Action": as_list(one["Action"]), "Resource": as_list(one["Resource"])} for one in document["Statement"]
    ]


def size(name: str) -> int:
    """Return the number of characters in a document as AWS counts them, without white space."""
    return len("".join((FOLDER / f"{name}.json").read_text(encoding="utf-8").split()))


def as_list(value: Any) -> list[Any]:
    """Return a list unchanged, and any other value as a list of one."""
    return list(value) if isinstance(value, list) else [value]


def actions(name: str) -> set[str]:
    """Return every action that a document names."""
    return {action for one in statements(name) for action in one["Action"]}


def needed(variables: Mapping[str, str]) -> list[str]:
    """Return the names of the documents that a run with these extra variables needs."""
    asked = {document for name, document in BY_VARIABLE.items() if variables.get(name, "") not in ("", "false")}
    return [*BASE, *sorted(asked)]


def without(action: str, given: list[Statement]) -> list[Statement]:
    """Return copies of the statements without one action."""
    return [{**one, "Action": [name for name in one["Action"] if name != action]} for one in given]
