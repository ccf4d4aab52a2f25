"""pre-commit runs the same checks as scripts/lint. It accepts only commit messages in the form of CONTRIBUTING.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CONFIGURATION: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
HOOKS: list[dict[str, Any]] = [hook for repository in CONFIGURATION["repos"] for hook in repository["hooks"]]


def test_every_part_of_lint_is_a_hook_and_brings_no_version_of_its_own() -> None:
    (parts,) = re.findall(r"^parts=\((.+)\)$", (ROOT / "scripts/lint").read_text(encoding="utf-8"), re.MULTILINE)
    run = [hook["entry"].split()[-1] for hook in HOOKS if hook["entry"].startswith("scripts/lint ")]
    assert sorted(run) == sorted(parts.split())
    assert [repository["repo"] for repository in CONFIGURATION["repos"]] == ["local"]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hooks_files_are_some_of_the_checkout(hook: dict[str, Any]) -> None:
    names = [
        str(path.relative_to(ROOT))
        for folder in ("roles", "scripts", "changelogs")
        for path in (ROOT / folder).rglob("*")
    ]
    assert any(re.search(hook.get("files", ""), name) for name in names)


def takes(message: str) -> bool:
    """Return whether the hook accepts a commit message.

    The hook's regular expression is applied in the same way as pre-commit applies it.
    """
    (hook,) = (hook for hook in HOOKS if hook["id"] == "message")
    assert hook["args"] == ["--negate", "--multiline"]
    return re.search(hook["entry"].encode(), message.encode(), re.MULTILINE | re.DOTALL) is not None


@pytest.mark.parametrize(
    "message",
    [
        "docs: say how to contribute\n\nA newcomer has to guess.\n",
        "aws_monitoring: leave out the backup's alarm by its name\n",
        "fresh_unit: compare the change time\n\n# Please enter the commit message\n",
        "docs/aws: name 0.1.0",
        f"engine: {'x' * 64}\n",
        "Merge branch 'other' into main\n",
        "fixup! docs: say how to contribute\n",
    ],
)
def test_a_good_commit_message_is_taken(message: str) -> None:
    assert takes(message)


@pytest.mark.parametrize(
    "message",
    [
        "Say how to contribute\n",
        "docs: say how to contribute.\n",
        "docs: say how to contribute\nand why\n",
        "Docs: say how to contribute\n",
        "docs:say how to contribute\n",
        "docs: \n",
        f"engine: {'x' * 65}\n",
        "first\n\ndocs: say how to contribute\n",
    ],
)
def test_another_commit_message_is_refused(message: str) -> None:
    assert not takes(message)
