"""Renders a role's templates with Ansible's own templating and the role's own variables.

In a process of its own: Ansible's collection loader takes over Python's imports for good.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]

HOSTS = [
    {
        "instance_id": f"i-{number}",
        "instance_type": "c6g.medium",
        "placement": {"availability_zone": "us-east-1a"},
        "tags": {"Name": f"trading-demo-{number}"},
    }
    for number in (1, 2)
]


def render(template: str, role: str = "aws_monitoring", **overrides: Any) -> Any:
    """Return what a template of the role renders to, as data; the monitoring role's for two hosts."""
    return json.loads(_rendered(template, role, json.dumps(overrides)))


@functools.cache
def _rendered(template: str, role: str, overrides: str) -> str:
    done = subprocess.run(
        [sys.executable, __file__, template, role, overrides],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _variables(role: Path) -> dict[str, Any]:
    """Return the role's defaults and variables, for the environment demo."""
    loaded: dict[str, Any] = {}
    for file in [role / "defaults/main.yml", *sorted((role / "vars").rglob("*.yml"))]:
        loaded |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded | {
        "role_path": str(role),
        "trading_environment": "demo",
        "aws_monitoring_partition": "aws",
        "aws_monitoring_hosts": HOSTS,
        "__aws_monitoring_topic": {"sns_arn": "arn:aws:sns:us-east-1:1:trading-demo-alarms"},
    }


def _print_rendered(template: str, role: Path, overrides: dict[str, Any]) -> None:
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.template import Templar, trust_as_template

    def trusted(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: trusted(item) for key, item in value.items()}
        if isinstance(value, list):
            return [trusted(item) for item in value]
        return trust_as_template(value) if isinstance(value, str) else value

    init_plugin_loader()
    text = (role / "templates" / template).read_text(encoding="utf-8")
    templar = Templar(loader=DataLoader(), variables=trusted(_variables(role)) | overrides)
    # The template lookup trims blocks; Templar.template does so only when the text says it.
    print(json.dumps(yaml.safe_load(templar.template(trust_as_template("#jinja2: trim_blocks:True\n" + text)))))


if __name__ == "__main__":
    _print_rendered(sys.argv[1], ROOT / "roles" / sys.argv[2], json.loads(sys.argv[3]))
