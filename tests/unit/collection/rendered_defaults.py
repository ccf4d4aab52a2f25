"""Prints as JSON the values of each role's defaults when no variable is set: {role: {input: value}}.

An input is missing if its default is known only later, from facts of a host, an answer of AWS, or the user's
environment. It is a separate program, because Ansible's collection loader changes Python's imports permanently.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleTemplateError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

# Words in defaults that depend on the user's environment or files, or on facts of a host.
KNOWN_LATER = ("lookup(", "role_path", "ansible_", "inventory_hostname")


def main() -> None:
    root = Path(sys.argv[1])
    init_plugin_loader([str(root / "collections")])
    roles = sorted((root / "roles").iterdir())
    # All roles' defaults together, because a role can use the defaults of another role of its play.
    defaults = {name: value for role in roles for name, value in load(role / "defaults/main.yml").items()}
    print(json.dumps({role.name: rendered(role, defaults) for role in roles}))


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = DataLoader().load_from_file(str(path), trusted_as_template=True)
    return loaded


def rendered(role: Path, defaults: dict[str, Any]) -> dict[str, Any]:
    variables = dict(defaults)
    for path in (*role.glob("vars/main.yml"), *role.glob("vars/main/*.yml")):
        variables |= load(path)
    templar = Templar(loader=DataLoader(), variables=variables)
    values = {}
    for name, default in load(role / "defaults/main.yml").items():
        if any(word in str(default) for word in KNOWN_LATER):
            continue
        try:
            values[name] = templar.template(default)
        except AnsibleTemplateError:
            continue
    return values


if __name__ == "__main__":
    main()
