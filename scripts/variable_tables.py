"""Write each role's README.md, and docs/variables.md with all inputs of roles, the shared variables first.

scripts/docs runs this. For each role meta/argument_specs.yml has purpose, example, types and meanings,
defaults/main.yml the defaults, and meta/main.yml the requirements.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import made_files
import yaml

ANSIBLE_MARKUP = re.compile(r"\b[CVOEIBPU]\(([^)]*)\)")
SHARED = re.compile(r"\btrading_[a-z0-9_]+")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def cell(value: object) -> str:
    text = " ".join(value) if isinstance(value, list) else str(value)
    text = ANSIBLE_MARKUP.sub(r"`\1`", " ".join(text.split()))
    return text.replace("|", "\\|")


def yaml_word(value: object) -> str:
    return cell(value) if isinstance(value, str) else json.dumps(value)


def shown_default(name: str, defaults: dict[str, Any], option: dict[str, Any]) -> str:
    if option.get("required"):
        return "**required**"
    value = option.get("default", defaults.get(name))
    if value is None:
        return "none"
    text = yaml_word(value)
    return f"`{text}`" if text else "empty"


def role_inputs(role: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the role's one-line description, its options and its defaults."""
    main = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]
    return main["short_description"], main.get("options", {}), load(role / "defaults/main.yml") or {}


def requirements(role: Path) -> list[str]:
    """Return a role's requirements for the controller and for a host, one line each."""
    about = load(role / "meta/main.yml")["galaxy_info"]
    needs = [f"- Ansible {about['min_ansible_version']} or newer on the controller."]
    if role.name.startswith(("aws_", "acceptance")):
        return [
            *needs,
            "- The collections amazon.aws and community.aws, and boto3, on the controller (`requirements.txt`).",
            "- Credentials for AWS, as boto3 finds them. The role runs on the controller.",
        ]
    platforms = [f"{one['name']} ({', '.join(one['versions'])})" for one in about["platforms"]]
    made_for = "Any Linux" if about["platforms"][0]["name"] == "GenericLinux" else ", ".join(platforms)
    return [*needs, f"- A host with systemd, and root on it (`become`). Made for: {made_for}."]


def role_page(role: Path) -> str:
    """Return the text of a role's README.md."""
    points = load(role / "meta/argument_specs.yml")["argument_specs"]
    main = points["main"]
    lines = [f"# {role.name}", "", "<!-- Made from meta/ by scripts/docs. -->", "", f"{main['short_description']}.", ""]
    lines += [f"- {cell(paragraph)}" for paragraph in main["description"]]
    lines += ["", "## Requirements", "", *requirements(role)]
    lines += ["", "## Example", "", "```yaml", main["examples"].rstrip(), "```", ""]
    if others := {name: point for name, point in points.items() if name != "main"}:
        lines += ["## Entry points", "", "| `tasks_from` | what it does |", "|---|---|"]
        lines += [f"| `{name}` | {cell(point['short_description'])} |" for name, point in others.items()]
        lines.append("")
    lines += [
        "## Variables",
        "",
        f"[All of them, with type, default and meaning](../../docs/variables.md#{role.name}).",
        "",
    ]
    return "\n".join(lines)


def all_variables(roles: list[Path]) -> str:
    lines = ["# Variables", "", "Made from the roles' `meta/argument_specs.yml` by `scripts/docs`.", ""]
    lines += ["## Shared variables", ""]
    lines += [
        "A shared variable sets several inputs of roles. The description of each such input names the shared",
        "variable. If you also set an input by its own name, the role uses that value.",
        "",
    ]
    # The first role that uses a shared variable describes it. The role `acceptance` comes last, because it only uses
    # the variables of other roles.
    lines += [shared_variables(sorted(roles, key=lambda role: role.name == "acceptance")), ""]
    for role in roles:
        summary, options, defaults = role_inputs(role)
        lines += [f"## {role.name}", "", summary, ""]
        if not options:
            lines += ["No inputs.", ""]
            continue
        lines += ["| variable | type | default | meaning |", "|---|---|---|---|"]
        for name, option in options.items():
            kind = option.get("type", "str")
            meaning = cell(option.get("description", ""))
            if choices := option.get("choices"):
                named = [f"`{yaml_word(choice)}`" if choice != "" else "empty" for choice in choices]
                meaning += f" The possible values are {', '.join(named)}."
            lines.append(f"| `{name}` | {kind} | {shown_default(name, defaults, option)} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def shared_variables(roles: list[Path]) -> str:
    """Return the Markdown table with one row for each variable that several inputs of roles use.

    A row has the variable's meaning and the inputs that use it. The meaning is the description of the input that names
    the variable as shared. If no input does, it is the description of the first input that uses the variable.
    """
    meanings: dict[str, str] = {}
    followers: dict[str, list[str]] = {}
    said: set[str] = set()
    for role in roles:
        _summary, options, defaults = role_inputs(role)
        for name, default in defaults.items():
            if name not in options:
                continue
            meaning = cell(options[name].get("description", ""))
            for shared in dict.fromkeys(SHARED.findall(str(default))):
                if shared.startswith("trading_engine_"):
                    continue
                followers.setdefault(shared, []).append(f"`{name}`")
                sentence = re.compile(rf" The shared variable `{shared}`(, which must be given,)? sets this input\.")
                found = sentence.search(meaning)
                if shared not in meanings or (found and shared not in said):
                    meanings[shared] = sentence.sub(" It must be given." if found and found[1] else "", meaning)
                if found:
                    said.add(shared)
    lines = ["| variable | meaning | inputs that it sets |", "|---|---|---|"]
    lines += [f"| `{name}` | {meanings[name]} | {', '.join(users)} |" for name, users in sorted(followers.items())]
    return "\n".join(lines)


def wanted(root: Path) -> dict[Path, str]:
    """Return a dictionary: path of a generated file → its text."""
    roles = sorted(path.parent.parent for path in root.glob("roles/*/meta/argument_specs.yml"))
    return {
        root / "docs/variables.md": all_variables(roles),
        **{role / "README.md": role_page(role) for role in roles},
    }


if __name__ == "__main__":
    sys.exit(made_files.main(__doc__, wanted))
