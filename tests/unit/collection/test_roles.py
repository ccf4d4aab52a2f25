"""Rules for the inputs, defaults, entry points and documentation of every role."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROOT = Path(__file__).parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
SCENARIOS = sorted((ROOT / "extensions/molecule").rglob("*.yml"))
TASK_FILES = sorted((ROOT / "roles").glob("*/tasks/*.yml")) + sorted((ROOT / "roles").glob("*/handlers/*.yml"))


@functools.cache
def load(path: Path) -> Any:
    """Return the content of a YAML file. Each file is read once for all tests, so no test may change the content."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def entry_points(role: Path) -> dict[str, Any]:
    points: dict[str, Any] = load(role / "meta/argument_specs.yml")["argument_specs"]
    return points


def options(role: Path, point: str = "main") -> dict[str, Any]:
    inputs: dict[str, Any] = entry_points(role)[point].get("options", {})
    return inputs


@functools.cache
def rendered_defaults() -> dict[str, dict[str, Any]]:
    """Return the default value of each input, by role. Inputs whose default is known only later are left out."""
    program = [sys.executable, str(Path(__file__).parent / "rendered_defaults.py"), str(ROOT)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert "rename it" not in done.stderr, (
        "a default that follows the new name is taken for somebody's use of the old one"
    )
    values: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return values


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_defaults_are_values_that_the_specification_takes(role: Path) -> None:
    """Every default is valid by the role's specification.

    Example: an empty dictionary is a wrong default if the specification requires one of its keys.
    """
    known = options(role)
    given = {name: value for name, value in rendered_defaults()[role.name].items() if name in known}
    assert given or not known
    assert ArgumentSpecValidator({name: known[name] for name in given}).validate(given).error_messages == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_file_begins_with_the_same_line_in_every_run(role: Path) -> None:
    """No template uses `ansible_managed`, because its text can contain the time.

    With the time in the text, each run would change the file and would restart the service that uses it.
    """
    templates = [path for path in (role / "templates").rglob("*") if path.is_file()]
    assert [path.name for path in templates if "ansible_managed" in path.read_text(encoding="utf-8")] == []


def roles_with_tasks_from(node: object) -> Iterator[dict[str, str]]:
    """Yield the arguments of every include_role and import_role in a part of a YAML file."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key.endswith(("include_role", "import_role")) and "tasks_from" in value:
                yield value
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from roles_with_tasks_from(item)


def task_text(role: Path, name: str) -> str:
    """Return the text of a role's task file. The text of the task files that it includes is added."""
    text = (role / "tasks" / f"{name}.yml").read_text(encoding="utf-8")
    included = re.findall(r"(?:import|include)_tasks:\s+(?:file: )?(\w+)\.yml", text)
    return text + "".join(task_text(role, other) for other in included if other != name)


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
def test_the_argument_specs_have_the_default_of_every_input(role: Path) -> None:
    known = rendered_defaults()[role.name]
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert specified == known


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_what_an_input_is_by_default_is_said_where_it_is_known_only_later(role: Path) -> None:
    later = set(options(role)) - set(rendered_defaults()[role.name])
    descriptions = {name: str(options(role)[name]["description"]) for name in later}
    assert not [name for name, text in descriptions.items() if not re.search(r"by\s+default|which must be given", text)]


@pytest.mark.parametrize("path", [*PLAYBOOKS, *SCENARIOS, *TASK_FILES], ids=name_of)
def test_a_role_is_entered_where_its_argument_specs_say(path: Path) -> None:
    # If tasks_from had a file's extension, Ansible would find the file, but no entry point. It would then check no
    # input.
    for role in roles_with_tasks_from(load(path)):
        points = entry_points(ROOT / "roles" / role["name"].removeprefix("lowlatency.trading."))
        assert role["tasks_from"] in points, role


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_an_entry_point_has_the_inputs_that_its_tasks_read(role: Path) -> None:
    main = options(role)
    for point in entry_points(role):
        text = task_text(role, point)
        given = options(role, point)
        assert {name for name in main if re.search(rf"\b{name}\b(?!:)", text)} <= set(given), point
        assert {name: main[name] for name in given} == given, point


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_example_is_a_play_with_the_role_and_with_inputs_that_there_are(role: Path) -> None:
    (play,) = yaml.safe_load(load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["examples"])
    assert play["roles"][-1]["role"] == f"lowlatency.trading.{role.name}"
    page = (ROOT / "docs/variables.md").read_text(encoding="utf-8")
    shared = set(re.findall(r"\btrading_[a-z0-9_]+", page.partition("## Shared variables")[2].partition("\n## ")[0]))
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
        for name in re.findall(r"(?<![\w.'\"])trading_[a-z0-9_]+\b(?![:=])", text)
        if not f"{name}_".startswith(role_prefixes)
    }
    assert not shared, f"read by tasks, but only defaults may: {shared}"


@pytest.mark.parametrize("path", TASK_FILES, ids=name_of)
def test_the_roles_of_a_host_call_no_module_of_aws(path: Path) -> None:
    of_aws = re.search(r"(?:amazon|community)\.aws\.", path.read_text(encoding="utf-8"))
    assert not of_aws or path.parents[1].name.startswith(("aws_", "acceptance")), "a host may be no instance of EC2"


# Actions that always run on the controller, whatever the hosts of the play are.
ON_THE_CONTROLLER = {"block"} | {
    f"ansible.builtin.{name}" for name in ("assert", "debug", "fail", "import_tasks", "include_tasks", "set_fact")
}


def elsewhere(tasks: list[dict[str, Any]], hosts: str) -> list[str]:
    """Return the names of the tasks that do not run on the controller.

    `hosts` are the hosts of the play in which the tasks run.
    """
    found = []
    for task in tasks:
        for kind in ("block", "rescue", "always"):
            found += elsewhere(task.get(kind, []), task.get("delegate_to", hosts))
        if not ON_THE_CONTROLLER & set(task) and task.get("delegate_to", hosts) != "localhost":
            found.append(task["name"])
    return found


AWS_TASK_FILES = [path for path in TASK_FILES if path.parents[1].name.startswith("aws_")]


@pytest.mark.parametrize("path", AWS_TASK_FILES, ids=name_of)
def test_the_roles_of_aws_reach_a_host_only_to_see_whether_it_answers(path: Path) -> None:
    away = elsewhere(load(path) or [], "localhost")
    assert away == [] or away == ["Inventory | Wait until Systems Manager reaches each host"]


@pytest.mark.parametrize("path", PLAYBOOKS, ids=name_of)
def test_a_play_for_hosts_enters_a_role_of_aws_only_where_its_tasks_are_the_controllers(path: Path) -> None:
    for play in load(path):
        entered = [role for role in roles_with_tasks_from(play) if ".aws_" in role["name"]]
        plain = [role for role in play.get("roles", []) if ".aws_" in role["role"]]
        if play.get("hosts") != "localhost":
            assert not plain, play["name"]
            for role in entered:
                file = ROOT / "roles" / role["name"].rpartition(".")[2] / f"tasks/{role['tasks_from']}.yml"
                assert elsewhere(load(file), "a host") == [], role


@pytest.mark.parametrize("path", PLAYBOOKS, ids=name_of)
def test_a_playbook_has_no_logic_of_its_own(path: Path) -> None:
    for play in load(path):
        modules = {key for task in play.get("tasks", []) for key in task if "." in key}
        allowed = {"ansible.builtin.import_role", "ansible.builtin.include_role"}
        if path.name != "ask.yml":  # only this playbook asks the user
            assert modules <= allowed, f"{play.get('name')}: {modules - allowed} belongs into a role"


@pytest.mark.parametrize("path", TASK_FILES, ids=name_of)
def test_a_role_never_asks(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "ansible.builtin.pause" not in text
    assert "vars_prompt" not in text


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_default_follows_its_own_role_shared_variables_and_what_roles_before_leave(role: Path) -> None:
    """A default may use its own role's inputs, shared variables, and results of earlier roles.

    It may use another role's input only in one case: the input is the former name of a shared variable. A user of the
    former name then gets a warning.
    """
    others = {name for other in ROLES if other != role for name in options(other)}
    for name, default in load(role / "defaults/main.yml").items():
        former = re.findall(r"formerly\(.*?'([a-z0-9_]+)',\s*'trading_", str(default), flags=re.DOTALL)
        assert not {word for word in re.findall(r"(?<![.\w])\w+", str(default)) if word in others} - set(former), name


AWS_FACTS = re.compile(r"\baws_preflight_(?:deployment|type)\b")


@pytest.mark.parametrize("role", [role for role in ROLES if role.name != "aws_preflight"], ids=lambda role: role.name)
def test_what_a_role_takes_of_the_preflight_is_one_of_its_inputs(role: Path) -> None:
    files = [path for folder in ("tasks", "vars", "templates") for path in sorted((role / folder).rglob("*"))]
    assert not [path for path in files if path.is_file() and AWS_FACTS.search(path.read_text(encoding="utf-8"))]


def test_an_environments_names_and_tags_are_computed_in_one_place() -> None:
    files = [path for path in sorted((ROOT / "roles").rglob("*.*")) if path.suffix in (".yml", ".j2")]
    spelled = re.compile(r"lowlatency-trading|\btrading-\{\{|[\"/ ]/trading/\{\{")
    assert not [name_of(path) for path in files if spelled.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_is_switched_off_in_one_way(role: Path) -> None:
    assert not [name for name in options(role) if name.endswith(("_enabled", "_disabled", "_wanted"))]
    if switch := options(role).get(f"{role.name}_state"):
        assert switch["choices"] == ["present", "absent"]
        # The role os_tuning needs no absent.yml. Its modules undo all settings that the chosen profile does not name.
        assert (role / "tasks/absent.yml").exists() or role.name == "os_tuning"


@pytest.mark.parametrize("command", ["trading_engine_check_journal_command", "trading_engine_check_state_command"])
def test_a_restore_asks_the_engine_before_anything_is_replaced(command: str) -> None:
    """A restore lets the engine check the backup before it replaces any file.

    When the check fails, tasks under `rescue` start the engine with its earlier state.
    """
    tasks = load(ROOT / "roles/trading_engine/tasks/restore.yml")
    unpacking = next(task for task in tasks if "block" in task)
    asked = [task for task in unpacking["block"] if command in str(task)]
    replacing = next(number for number, task in enumerate(tasks) if "mv" in str(task.get("loop", "")))
    assert len(asked) == 1
    assert tasks.index(unpacking) < replacing


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_what_a_task_registers_hides_no_variable_of_the_role(role: Path) -> None:
    """No task registers its result under the name of a variable of its role.

    Such a result would replace the variable for the rest of the play.
    """
    known = {name for path in (*role.glob("vars/main.yml"), *role.glob("vars/main/*.yml")) for name in load(path)}
    text = "".join(path.read_text(encoding="utf-8") for path in (role / "tasks").glob("*.yml"))
    assert known & set(re.findall(r"^\s+register: (\w+)", text, flags=re.MULTILINE)) == set()
