"""The resources that a stack of the CloudFormation template would request, with the template's parameters filled in."""

from __future__ import annotations

import re
from typing import Any

from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

from .conftest import ROOT

PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::URLSuffix": "amazonaws.com",
}


def resources(**parameters: str) -> dict[str, dict[str, Any]]:
    """Return the properties of each resource by its id in the template.

    When a property refers to another resource, its value here is that resource's id in the template.
    """
    template = cfn_yaml.load(str(ROOT / "files/cloudformation/trading-host.yml"))
    values = {name: given.get("Default", "") for name, given in template["Parameters"].items()} | PSEUDO | parameters
    return {name: _resolved(given.get("Properties", {}), values) for name, given in template["Resources"].items()}


def _resolved(node: Any, values: dict[str, str]) -> Any:
    if isinstance(node, dict):
        if set(node) == {"Ref"}:
            return values.get(node["Ref"], str(node["Ref"]))
        if set(node) == {"Fn::Sub"}:
            return re.sub(r"\$\{([^}]+)\}", lambda found: _value(found[1], values), node["Fn::Sub"])
        return {str(key): _resolved(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolved(value, values) for value in node]
    return str(node) if isinstance(node, str) else node


def _value(name: str, values: dict[str, str]) -> str:
    """Return the value that replaces ``${name}`` in the template's text. For ``!name``, return the text ``${name}``."""
    return "${" + name[1:] + "}" if name.startswith("!") else values[name]
