"""What every role promises its users, held for all roles alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
TASK_FILES = sorted((ROOT / "roles").glob("*/tasks/*.yml")) + sorted((ROOT / "roles").glob("*/handlers/*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: Path) -> dict[str, Any]:
    inputs: dict[str, Any] = load(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    return inputs


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_roles() -> None:
    assert len(ROLES) >= 8


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_input_is_in_defaults_and_in_the_argument_specs(role: Path) -> None:
    defaults_file = role / "defaults/main.yml"
    defaults = (load(defaults_file) or {}) if defaults_file.exists() else {}
    inputs = options(role)
    without_default = {name for name, option in inputs.items() if option.get("required")}
    assert set(defaults) == set(inputs) - without_default


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_input_carries_the_prefix_of_its_role_and_is_described(role: Path) -> None:
    for name, option in options(role).items():
        assert name.startswith(f"{role.name}_"), name
        assert option.get("description"), name
        assert option.get("type"), name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_example_is_a_play_with_the_role_and_with_inputs_that_there_are(role: Path) -> None:
    (play,) = yaml.safe_load(load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["examples"])
    assert play["roles"][-1]["role"] == f"lowlatency.trading.{role.name}"
    shared = set(re.findall(r"\btrading_[a-z0-9_]+", (role.parent.parent / "README.md").read_text(encoding="utf-8")))
    given = {
        name
        for name in [*play.get("vars", {}), *play["roles"][-1]]
        if name not in ("role", "ansible_python_interpreter")
    }
    assert given <= set(options(role)) | shared | set(options(ROOT / "roles/aws_preflight"))


@pytest.mark.parametrize("path", TASK_FILES, ids=name_of)
def test_tasks_never_read_shared_variables(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    role_prefixes = tuple(f"{role.name}_" for role in ROLES if role.name.startswith("trading_"))
    shared = {
        name
        for name in re.findall(r"(?<![\w.'\"])trading_[a-z0-9_]+\b(?!:)", text)
        if not f"{name}_".startswith(role_prefixes)
    }
    assert not shared, f"read by tasks, but only defaults may: {shared}"


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=name_of)
def test_a_playbook_has_no_logic_of_its_own(path: Path) -> None:
    for play in load(path):
        modules = {key for task in play.get("tasks", []) for key in task if "." in key}
        allowed = {"ansible.builtin.import_role", "ansible.builtin.include_role"}
        if path.name != "ask.yml":  # a role never asks, so this one does
            assert modules <= allowed, f"{play.get('name')}: {modules - allowed} belongs into a role"


@pytest.mark.parametrize("path", TASK_FILES, ids=name_of)
def test_a_role_never_asks(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "ansible.builtin.pause" not in text
    assert "vars_prompt" not in text
