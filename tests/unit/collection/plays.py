"""Parts of plays that test the roles' tasks and variables on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = {"hosts": "localhost", "connection": "local", "gather_facts": False}
# Ansible starts a process for each task on each host. This play loads filters before, so that each process has them.
FILTERS = (
    *("partition_names", "partitions", "partition_problems", "partition_move", "partition_moves", "formerly"),
    *("ports_let_in", "own_address", "own_url_host"),
)
# One filter of each file that has filters of Ansible.
BUILTIN = ("b64decode", "difference")
LOADED = [
    f"'{collection}.{name}' is not filter"
    for collection, names in (("lowlatency.trading", FILTERS), ("ansible.builtin", BUILTIN))
    for name in names
]
LOAD = {**HERE, "tasks": [{"name": "Load", "ansible.builtin.meta": "end_play", "when": " or ".join(LOADED)}]}


def of_role(role: Path) -> dict[str, Any]:
    """Return the defaults and variables of a role, which a test passes to a play as variables.

    If a play named their files in `vars_files`, Ansible would read the files again for each task.
    """
    parts = [yaml.safe_load((role / part / "main.yml").read_text(encoding="utf-8")) for part in ("defaults", "vars")]
    return {**parts[0], **parts[1]}


def printed(
    folder: Path, roles: tuple[Path, ...], cases: Mapping[str, tuple[object, dict[str, Any]]], *words: str
) -> dict[str, tuple[Any, str]]:
    """Run a play that prints one value for each case. Return, by case, the value and all that Ansible printed.

    A case consists of a template for the value, and of the variables that a user gives. The template can use the
    defaults and variables of `roles`. `words` are added to Ansible's command line.
    """
    tasks = [
        {"name": name, "ansible.builtin.debug": {"msg": content}, "vars": given}
        for name, (content, given) in cases.items()
    ]
    variables = {key: of for role in roles for key, of in of_role(role).items()}
    (folder / "play.yml").write_text(json.dumps([{**HERE, "vars": variables, "tasks": tasks}]), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", "localhost,", *words, f"{folder}/play.yml"]
    # In one stream, a warning comes before the result of its task.
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    texts = dict(text.split("]", 1) for text in done.stdout.split("TASK [")[1:])
    found = {name: text.partition("ok: [localhost] => ")[2] for name, text in texts.items()}
    return {name: (json.JSONDecoder().raw_decode(found[name])[0]["msg"], texts[name]) for name in cases}
