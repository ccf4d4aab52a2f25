"""Evaluates IAM policies that contain Deny, NotAction, NotResource, Null or variables.

The policies of the hosts and of the bucket use these elements. The deployer's policies use none of them, and
evaluate.py evaluates the deployer's policies more strictly. The rules are those of
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html: a Deny wins. Within one AWS
account, an Allow in the identity's policy is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.iam.documents import Statement, as_list
from tests.iam.evaluate import Need, matches


def decided(need: Need, identity: Iterable[Statement], resource: Iterable[Statement] = ()) -> bool:
    """Return whether the policies allow what a call needs.

    The identity's policy must allow the need. Neither this policy nor the resource's policy may have a Deny that fits
    the need.
    """
    identity, resource = list(identity), list(resource)
    if any(one["Effect"] == "Deny" and _fits(one, need) for one in [*identity, *resource]):
        return False
    return any(one["Effect"] == "Allow" and _fits(one, need) for one in identity)


def _fits(statement: Mapping[str, Any], need: Need) -> bool:
    known = {key.lower(): value for key, value in need.context.items()}
    return (
        _named(statement, "Action", need.action, {})
        and _named(statement, "Resource", need.resource, known)
        and all(_holds(operator, keys, known) for operator, keys in statement.get("Condition", {}).items())
    )


def _named(statement: Mapping[str, Any], key: str, value: str, known: Mapping[str, str]) -> bool:
    if f"Not{key}" in statement:
        return not _any(statement[f"Not{key}"], value, known)
    return _any(statement[key], value, known)


def _any(patterns: Any, value: str, known: Mapping[str, str]) -> bool:
    return any(matches(_filled(pattern, known), value) for pattern in as_list(patterns))


def _filled(pattern: str, known: Mapping[str, str]) -> str:
    """Return the pattern with the request's values in place of its variables, such as ${aws:username}.

    A pattern with a variable that has no value matches nothing.
    """
    while "${" in pattern:
        name = pattern.partition("${")[2].partition("}")[0]
        pattern = pattern.replace("${" + name + "}", known.get(name.lower(), "\0"))
    return pattern


def _holds(operator: str, keys: Mapping[str, Any], known: Mapping[str, str]) -> bool:
    if operator == "Null":
        return all((key.lower() not in known) is (str(wanted) == "true") for key, wanted in keys.items())
    if operator not in ("ArnEquals", "Bool", "StringEquals"):
        raise KeyError(operator)
    return all(
        key.lower() in known and any(matches(str(one), known[key.lower()]) for one in as_list(wanted))
        for key, wanted in keys.items()
    )
