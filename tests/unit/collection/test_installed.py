"""Roles install files on a host. files/installed.yml declares the owner, group and mode of each file."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DECLARED: list[dict[str, str]] = yaml.safe_load((ROOT / "files/installed.yml").read_text(encoding="utf-8"))
MODULES = ("template", "copy", "file", "get_url", "engine_accounts")
# Paths on the controller, and paths of files that are deleted before the run ends.
ELSEWHERE = re.compile(r"^/var/cache/|\.restored|__trading_engine_(?:scratch|replaced)|/secrets/$")
VARIABLE = re.compile(r"{{ (\w+) }}")
HOST_ROLES = ("cloudwatch_agent", "hardening", "journal_backup", "os_tuning", "slo", "telemetry", "trading_engine")


def variables(role: Path) -> dict[str, str]:
    texts = [yaml.safe_load(path.read_text(encoding="utf-8")) or {} for path in role.glob("vars/main.yml")]
    return {name: value for text in texts for name, value in text.items() if isinstance(value, str)}


def value_of(known: dict[str, str], found: re.Match[str]) -> str:
    return known.get(found[1], found[0])


def tasks(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each task that makes a file, together with the task's loop."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key.rpartition(".")[2] in MODULES and isinstance(value, dict) and not node.get("delegate_to"):
                yield {**value, "loop": node.get("loop")}
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from tasks(one)


def made() -> dict[str, dict[str, Any]]:
    """Return, for each path that a task makes, the arguments of this task.

    When a part of the path is known only on the host, a star replaces that part.
    """
    found = {}
    for role in HOST_ROLES:
        known = variables(ROOT / "roles" / role)
        for path in (ROOT / "roles" / role / "tasks").glob("*.yml"):
            for task in tasks(yaml.safe_load(path.read_text(encoding="utf-8"))):
                place = str(task.get("dest") or task.get("path"))
                place = VARIABLE.sub(partial(value_of, known), place)
                if "mode" not in task or ELSEWHERE.search(place):
                    continue
                items = task["loop"] if isinstance(task["loop"], list) else ["*"]
                for item in items:
                    found[re.sub(r"{{ [^}]*}}", str(item), place)] = task
    return found


MADE = made()


def test_there_are_files() -> None:
    assert len(MADE) > 20


@pytest.mark.parametrize("path", sorted(MADE))
def test_what_a_task_makes_is_declared_as_the_task_makes_it(path: str) -> None:
    declared = [
        entry for entry in DECLARED if fnmatch.fnmatch(path, entry["path"]) or fnmatch.fnmatch(entry["path"], path)
    ]
    assert declared, f"{path} is not in files/installed.yml"
    task = MADE[path]
    wanted = (task["owner"], task["group"], task["mode"])
    assert wanted in {(entry["owner"], entry["group"], entry.get("mode")) for entry in declared}


def users(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "ansible.builtin.user" in node:
            yield node["ansible.builtin.user"]
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from users(one)


def test_no_user_that_a_role_makes_can_log_in() -> None:
    paths = [path for role in HOST_ROLES for path in (ROOT / "roles" / role / "tasks").glob("*.yml")]
    found = [user for path in paths for user in users(yaml.safe_load(path.read_text(encoding="utf-8")))]
    made_here = [user for user in found if user.get("system")]
    assert len(made_here) >= 4
    assert {user["shell"] for user in made_here} == {"/usr/sbin/nologin"}
    people = "{{ item.name }}"  # people log in with their own keys
    with_shell = [user["name"] for user in found if user.get("shell", "/usr/sbin/nologin") != "/usr/sbin/nologin"]
    assert with_shell == [people]


@pytest.mark.parametrize(
    "name", ["trading-engine", "trading-telemetry", "trading-publish", "trading-backup", "cwagent"]
)
def test_a_user_that_the_firewall_may_have_made_is_taken_over_by_its_role(name: str) -> None:
    """The firewall may create this user before the user's role runs.

    When the firewall is removed, users with the firewall's comment are removed too. The role therefore gives the user
    another comment.
    """
    paths = (ROOT / "roles").glob("*/tasks/*.yml")
    found = [user for path in paths for user in users(yaml.safe_load(path.read_text(encoding="utf-8")))]
    own = [user for user in found if user["name"] == name and user.get("comment")]
    assert own
    assert {"system", "shell"} <= own[0].keys()


def test_no_one_but_root_writes_what_root_runs_or_reads_at_boot() -> None:
    for entry in DECLARED:
        if not entry["path"].startswith("/var/lib/trading"):
            assert entry["owner"] == "root", entry
            assert not int(entry.get("mode") or entry["most"], 8) & 0o022, entry
