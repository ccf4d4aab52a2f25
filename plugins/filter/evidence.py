# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that compare the claims of files/acceptance.yml with what an acceptance run observed.

The result may be published, so account numbers, addresses and keys are replaced in it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

# The evidence lists each task that took at least this many seconds.
_SHORTEST_WAIT_S = 3.0
_KEY = r"(?:ssh-[a-z0-9]+|ecdsa-[a-z0-9-]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]{20,}|SHA256:[A-Za-z0-9+/=]{20,}"
_PRIVATE = r"-----BEGIN [A-Z ]*KEY-----.*?(?:-----END [A-Z ]*KEY-----|$)"
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])")
_SECRETS = [
    (re.compile(_PRIVATE, re.DOTALL), "(key)"),
    (re.compile(_KEY), "(key)"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), "(access key)"),
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.]+\b"), "(mail address)"),
    (re.compile(r"\b(?:ip|ec2)-\d{1,3}(?:-\d{1,3}){3}\b"), "(address)"),
    (re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"), "(address)"),
    (re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b"), "(address)"),
    (re.compile(r"(?<!\d)\d{12}(?!\d)"), "(account)"),
]


def _without_address(found: re.Match[str]) -> str:
    """Replace a match of the address pattern by a placeholder if it is an IPv6 address.

    Return any other match, such as a time of day, unchanged.
    """
    try:
        ipaddress.IPv6Address(found[0])
    except ValueError:
        return found[0]
    return "(address)"


def redacted(value: Any) -> Any:
    """Return the value with placeholders in place of AWS account numbers, network and mail addresses, and keys.

    A key here is an SSH key or an access key of AWS. If the value is a dictionary, the texts that are its keys are
    replaced as well.
    """
    if isinstance(value, Mapping):
        return {redacted(str(key)): redacted(one) for key, one in value.items()}
    if isinstance(value, str):
        text = _IPV6.sub(_without_address, str(value))
        for pattern, instead in _SECRETS:
            text = pattern.sub(instead, text)
        return text
    if isinstance(value, Sequence):
        return [redacted(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and len(str(abs(value))) == 12:
        return "(account)"
    return value


class Comparison(NamedTuple):
    """A way to compare an observed value with an expected one: its wording, and a function that compares.

    The function takes (observed, expected) and returns whether the claim holds.
    """

    words: str
    holds: Callable[[Any, Any], bool]


def _number(seen: Any) -> bool:
    return isinstance(seen, (int, float)) and not isinstance(seen, bool)


def _contains(seen: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(seen, Mapping) and all(seen.get(key) == one for key, one in wanted.items())
    return all(one in seen for one in wanted)


COMPARISONS = {
    "equals": Comparison("", lambda seen, wanted: bool(seen == wanted)),
    "at_most": Comparison("at most ", lambda seen, wanted: _number(seen) and bool(seen <= wanted)),
    "at_least": Comparison("at least ", lambda seen, wanted: _number(seen) and bool(seen >= wanted)),
    "contains": Comparison("among others ", _contains),
}


def expectation(claim: Mapping[str, Any]) -> str:
    """Return a text that says what a claim expects, such as "at most 20 s"."""
    ((kind, wanted),) = claim["expected"].items()
    return COMPARISONS[kind].words + _words(wanted) + (f" {claim['unit']}" if "unit" in claim else "")


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_words(one) for one in value) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _seen_in(claim: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]], seen: Mapping[str, Any]) -> Any:
    """Return the observed value for a claim, or None when the run observed none.

    - For a claim with ``task`` the value is the longest time of that task in seconds.
    - For a claim with ``by_outcome`` it is how the step ended: "ok", "failed" or "limit".
    - For any other claim it is the value in ``seen`` under the claim's id.
    """
    step = steps.get(claim["step"], {})
    if "task" in claim:
        times = [one["seconds"] for one in step.get("tasks", []) if one["task"] == claim["task"] and _ran(one)]
        return max(times, default=None)
    if claim.get("by_outcome"):
        return step.get("outcome")
    return seen.get(claim["id"])


def _ran(task: Mapping[str, Any]) -> bool:
    return bool(task["outcome"] != "skipped")


def _judged(claim: Mapping[str, Any], value: Any, step: Mapping[str, Any], on_aws: bool) -> dict[str, Any]:
    ((kind, wanted),) = claim["expected"].items()
    reason = ""
    if not on_aws and not claim.get("anywhere"):
        reason = "only AWS can settle this, and another endpoint answered"
    elif not step:
        reason = f"the step {claim['step']} did not run"
    elif value is None:
        reason = f"nothing was seen of it in the step {claim['step']}, which ended: {step['outcome']}"
    holds = None if value is None else COMPARISONS[kind].holds(value, wanted)
    return {
        "id": claim["id"],
        "claim": claim["claim"],
        "expected": expectation(claim),
        "seen": value,
        "settled": not reason,
        "holds": holds if not reason else None,
        **({"reason": reason} if reason else {}),
    }


def evidence(
    claims: Sequence[Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]],
    seen: Mapping[str, Any],
    on_aws: bool,
) -> dict[str, Any]:
    """Return what an acceptance run showed: its steps, a verdict for each claim, refused AWS requests, long tasks.

    ``steps`` are the run's steps, each with its name and the result of the module playbook_run. ``seen`` maps ids of
    claims to observed values. ``on_aws`` says whether the run used AWS itself. If it did not, only claims with the key
    ``anywhere`` get a verdict. The result contains no confidential value.
    """
    by_name = {step["name"]: step for step in steps}
    denied = sorted({one for step in steps for one in step.get("denials", [])})
    everything = {**seen, "iam-denials": denied}
    judged = [_judged(one, _seen_in(one, by_name, everything), by_name.get(one["step"], {}), on_aws) for one in claims]
    waits = [
        {"step": step["name"], "task": one["task"], "seconds": one["seconds"]}
        for step in steps
        for one in step.get("tasks", [])
        if one["seconds"] >= _SHORTEST_WAIT_S and _ran(one)
    ]
    shown = ("name", "outcome", "seconds", "failed_task", "message")
    found = {
        "on_aws": on_aws,
        "steps": [{key: step[key] for key in shown if step.get(key) not in ("", None)} for step in steps],
        "failed_steps": [step["name"] for step in steps if step["outcome"] != "ok"],
        "refuted": [one["id"] for one in judged if one["holds"] is False],
        "unsettled": [one["id"] for one in judged if not one["settled"]],
        "claims": judged,
        "denials": denied,
        "waits": waits,
    }
    clean: dict[str, Any] = redacted(found)
    return clean


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"evidence": evidence, "redacted": redacted}
