"""Evaluates policy statements as AWS does. Only the elements that files/iam uses are supported.

These are Allow, wildcards and conditions. The rules are those of
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.iam.documents import Statement, as_list


@dataclass(frozen=True)
class Need:
    """One permission that an API call needs: an action on a resource.

    Policies can have conditions on keys such as aws:ResourceTag/Project. `context` has the request's values of these
    keys.
    """

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        context = ", ".join(f"{key}={value}" for key, value in sorted(self.context.items()))
        return f"{self.action} on {self.resource}" + (f" with {context}" if context else "")


def allowed(need: Need, statements: Iterable[Statement]) -> bool:
    """Return whether at least one statement allows what a call needs.

    Raises ValueError for a statement whose effect is not Allow.
    """
    return any(_allows(one, need) for one in statements)


def _allows(statement: Statement, need: Need) -> bool:
    if statement["Effect"] != "Allow":
        raise ValueError(f"{statement.get('Sid')}: this evaluator knows Allow only")
    return (
        any(matches(pattern.lower(), need.action.lower()) for pattern in statement["Action"])
        and any(matches(pattern, need.resource) for pattern in statement["Resource"])
        and _conditions_hold(statement.get("Condition", {}), need.context)
    )


def matches(pattern: str, value: str) -> bool:
    """Return whether a pattern matches the whole value. IAM's wildcards are * and ?."""
    return _expression(pattern).fullmatch(value) is not None


@functools.cache
def _expression(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in pattern), re.DOTALL)


def _equal(pattern: str, value: str) -> bool:
    return pattern == value


# AWS treats ArnEquals and ArnLike in the same way.
_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _equal,
    "StringLike": matches,
    "ArnEquals": matches,
    "ArnLike": matches,
    "Bool": _equal,
}


def _conditions_hold(conditions: Mapping[str, Mapping[str, object]], context: Mapping[str, str]) -> bool:
    """Return whether all conditions of a statement are true.

    A condition is true when the request's value fits one of the condition's values. It is false when the request does
    not have the value.
    """
    known = {key.lower(): value for key, value in context.items()}
    return all(
        _holds(_OPERATORS[operator], as_list(values), known.get(key.lower()))
        for operator, keys in conditions.items()
        for key, values in keys.items()
    )


def _holds(operator: Callable[[str, str], bool], wanted: list[str], value: str | None) -> bool:
    return value is not None and any(operator(str(one), value) for one in wanted)
