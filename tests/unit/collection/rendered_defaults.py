"""Prints, as JSON, the values that the roles' inputs have by default: {role: {input: value}}.

An input is left out if its default is known only later. It then depends on facts of a host, an answer of AWS, or the
user's environment. This is a separate program, because Ansible's collection loader changes Python's imports
permanently.
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

# A default with one of these words depends on the user's environment or files, or on facts of a host.
KNOWN_LATER = ("lookup(", "role_path", "ansible_", "inventory_hostname")


def main() -> None:
    root = Path(sys.argv[1])
    init_plugin_loader([str(root / "collections")])
    roles = sorted((root / "roles").iterdir())
    # The defaults of all roles together, because a default can use the default of another role in its play.
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
