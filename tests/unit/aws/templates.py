"""Renders the monitoring role's templates for two hosts, with Ansible's own templating and the role's own variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

init_plugin_loader()

ROOT = Path(__file__).parents[3]
ROLE = ROOT / "roles/aws_monitoring"

HOSTS = [
    {
        "instance_id": f"i-{number}",
        "instance_type": "c6g.medium",
        "placement": {"availability_zone": "us-east-1a"},
        "tags": {"Name": f"trading-demo-{number}"},
    }
    for number in (1, 2)
]


def _trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def variables() -> dict[str, Any]:
    """Return the role's defaults and variables for the environment demo."""
    files = [ROLE / "defaults/main.yml", *sorted((ROLE / "vars/main").glob("*.yml"))]
    loaded: dict[str, Any] = {}
    for file in files:
        loaded |= _trusted(yaml.safe_load(file.read_text(encoding="utf-8")))
    return loaded | {
        "role_path": str(ROLE),
        "trading_environment": "demo",
        "aws_monitoring_partition": "aws",
        "aws_monitoring_hosts": HOSTS,
        "__aws_monitoring_topic": {"sns_arn": "arn:aws:sns:us-east-1:1:trading-demo-alarms"},
    }


def render(template: str, **overrides: Any) -> Any:
    """Return what a template of the role renders to, as data."""
    text = (ROLE / "templates" / template).read_text(encoding="utf-8")
    templar = Templar(loader=DataLoader(), variables=variables() | overrides)
    # Ansible's template lookup trims blocks; Templar.template does not unless the text says so.
    return yaml.safe_load(templar.template(trust_as_template("#jinja2: trim_blocks:True\n" + text)))
