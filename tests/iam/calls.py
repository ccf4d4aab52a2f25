"""Reads and stores which permissions the playbooks' API calls need. Each needed permission is called a need.

Tests in tests/integration/aws read the needs that their own emulated API has recorded. Unit tests read the file
calls.json, which has the needs of a deployment's whole life, from plan to removal.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from tests.iam.evaluate import Need

KEPT = Path(__file__).with_name("calls.json")
_FOLDER = "KEEP_CALLS_IN"
HOW_TO_KEEP = (
    f"{_FOLDER}=FOLDER scripts/test aws; scripts/run python -m tests.iam.calls FOLDER writes {KEPT.name} again"
)
_ID = re.compile(r"-[0-9a-f]{8,}\b")


class KeptNeed(NamedTuple):
    """A permission that a call needs, and the names of the policies that the caller had at that time."""

    action: str
    need: Need
    policies: tuple[str, ...]


def read(file: Path) -> list[Need]:
    """Return the needs, that is, the needed permissions, that were recorded in `file`.

    When there was no call, the file does not exist and the list is empty.
    """
    if not file.exists():
        return []
    return [Need(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def kept() -> list[KeptNeed]:
    """Return the needs in calls.json, that is, the permissions that the playbooks' calls need."""
    rows = json.loads(KEPT.read_text(encoding="utf-8"))
    return [
        KeptNeed(row["action"], Need(row["action"], row["resource"], row["context"]), tuple(row["policies"]))
        for row in rows
    ]


def keep(policies: list[str], needs: list[Need]) -> bool:
    """Store needs, that is, needed permissions, in the folder that the environment variable KEEP_CALLS_IN names.

    Return whether the variable is set. Without it, nothing is stored.
    """
    folder = os.environ.get(_FOLDER)
    if folder:
        file = Path(folder) / f"{os.environ.get('PYTEST_XDIST_WORKER', 'one')}.jsonl"
        with file.open("a", encoding="utf-8") as rows:
            rows.write("".join(f"{json.dumps(row)}\n" for row in (_row(need, policies) for need in needs)))
    return bool(folder)


def _row(need: Need, policies: list[str]) -> dict[str, Any]:
    """Return a needed permission as a row of calls.json, without values that differ from run to run.

    A placeholder replaces each id. Tags are left out, except the tag Project, because policies mention no other tag.
    """
    context = {key: value for key, value in need.context.items() if "Tag/" not in key or key.endswith("/Project")}
    return {
        "action": need.action,
        "resource": _ID.sub("-0", need.resource),
        "context": dict(sorted(context.items())),
        "policies": policies,
    }


def _write(folder: Path) -> None:
    rows = {line for file in folder.glob("*.jsonl") for line in file.read_text(encoding="utf-8").splitlines()}
    KEPT.write_text("[\n" + ",\n".join(sorted(rows)) + "\n]\n", encoding="utf-8")
    print(f"{len(rows)} needs in {KEPT}")


if __name__ == "__main__":
    import sys

    _write(Path(sys.argv[1]))
