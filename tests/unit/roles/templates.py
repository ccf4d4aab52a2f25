"""Renders templates of roles with Ansible. A role's own defaults and variables are used.

Ansible runs in a separate process, because its collection loader changes Python's imports permanently.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import traceback
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
        "block_device_mappings": [{"device_name": "/dev/xvda", "ebs": {"volume_id": f"vol-{number}"}}],
    }
    for number in (1, 2)
]
GROUPS = [
    {
        "partition": name,
        "group": f"trading-demo/{name}",
        "load_balancer": "net/trading-demo-N-a/0",
        "target_group": f"targetgroup/trading-demo-O-{name}/0",
    }
    for name in ("alpha", "beta")
]


def render(template: str, role: str = "aws_monitoring", **overrides: Any) -> Any:
    """Render a template of a role, read the result as YAML, and return it. `overrides` are further variables.

    The templates of the role aws_monitoring get two hosts.
    """
    return yaml.safe_load(text(template, role, **overrides))


def text(template: str, role: str, **overrides: Any) -> str:
    """Render a template of a role, and return the result as text. `overrides` are further variables."""
    return _rendered(template, role, json.dumps(overrides))


@functools.cache
def _rendered(template: str, role: str, overrides: str) -> str:
    process = _renderer()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([template, role, overrides]) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "the process that renders has ended; what it said is on this test's standard error"
    result, error = json.loads(answer)
    assert not error, error
    return str(result)


@functools.cache
def _renderer() -> subprocess.Popen[str]:
    """Start the process that renders templates and return it. All tests share it, because it starts slowly."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    with process:
        assert process.stdin is not None
        process.stdin.close()


def _variables(role: Path) -> dict[str, Any]:
    """Return the role's defaults and variables, and the other variables that the templates use."""
    loaded: dict[str, Any] = {}
    for file in [role / "defaults/main.yml", *sorted((role / "vars").rglob("*.yml"))]:
        loaded |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded | {
        "role_path": str(role),
        "inventory_hostname": "trading-demo-1",
        "groups": {"trading": ["trading-demo-1"]},
        "trading_environment": "demo",
        "aws_monitoring_partition": "aws",
        "aws_monitoring_hosts": HOSTS,
        "__aws_monitoring_topic": {"sns_arn": "arn:aws:sns:us-east-1:1:trading-demo-alarms"},
    }


def _answer() -> None:
    """For each line of standard input, render a template and print the answer.

    A line has the template, its role and variables. The answer has two texts: the result, and an error message.
    """
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.template import Templar, trust_as_template

    def trusted(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: trusted(item) for key, item in value.items()}
        if isinstance(value, list):
            return [trusted(item) for item in value]
        return trust_as_template(value) if isinstance(value, str) else value

    def rendered(template: str, role: Path, overrides: dict[str, Any]) -> Any:
        text = (role / "templates" / template).read_text(encoding="utf-8")
        templar = Templar(loader=DataLoader(), variables=trusted(_variables(role)) | overrides)
        # Ansible's template module removes the first newline after a block (trim_blocks). Templar.template needs this
        # first line for it.
        return templar.template(trust_as_template("#jinja2: trim_blocks:True\n" + text))

    init_plugin_loader()
    for line in sys.stdin:
        template, role, overrides = json.loads(line)
        try:
            answer = [rendered(template, ROOT / "roles" / role, json.loads(overrides)), ""]
        except Exception:
            answer = ["", traceback.format_exc()]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _answer()
