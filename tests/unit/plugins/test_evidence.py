"""The evidence is the report of an acceptance run: it tells which claims the run checked, and which are true.

It contains no confidential text.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.filter.evidence import evidence, redacted


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("arn:aws:sns:us-east-1:123456789012:trading-a", "arn:aws:sns:us-east-1:(account):trading-a"),
        ("answers at 198.51.100.7, port 22", "answers at (address), port 22"),
        ("2001:db8::1 and fe80::1ff:fe23:4567:890a/64", "(address) and (address)/64"),
        ("ip-10-0-1-17.ec2.internal", "(address).ec2.internal"),
        ("ether 0a:58:0a:4d:01:05 txqueuelen", "ether (address) txqueuelen"),
        ("key ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHhY", "key (key)"),
        ("SHA256:uNiVztksCsDhcc0u9e8BrgnX8WfNeO2Fn8FQ0Yl1kQs", "(key)"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n-----END OPENSSH PRIVATE KEY----- x", "(key) x"),
        ("AKIAIOSFODNN7EXAMPLE was refused", "(access key) was refused"),
        ("told ops@example.com", "told (mail address)"),
        ("amazon.aws 10.1.2 at 22:05:48, i-0123456789abcdef0", "amazon.aws 10.1.2 at 22:05:48, i-0123456789abcdef0"),
    ],
)
def test_what_nobody_else_should_read_is_left_out(text: str, clean: str) -> None:
    assert redacted({"a": [text, {text: 1}], "b": 123456789012, "c": True}) == {
        "a": [clean, {clean: 1}],
        "b": "(account)",
        "c": True,
    }


SEEN = {"a": 5, "b": ["x", "y"], "d": {"p99": "met", "health": "met"}}
RAN = [
    {"name": "look", "outcome": "ok", "seconds": 7.5, "denials": ["ec2:RunInstances"], "tasks": []},
    {
        "name": "make",
        "outcome": "failed",
        "seconds": 20.0,
        "failed_task": "Make | It",
        "message": "198.51.100.7 is away",
        "tasks": [
            {"host": "localhost", "task": "Wait | It", "seconds": 9.5, "outcome": "ok", "message": ""},
            {"host": "localhost", "task": "Wait | It", "seconds": 99.0, "outcome": "skipped", "message": ""},
        ],
    },
]


def judged(claim: dict[str, Any], on_aws: bool = True) -> dict[str, Any]:
    """Return the entry about this claim in the evidence."""
    (found,) = evidence([{"claim": "It is so", "step": "look", **claim}], RAN, SEEN, on_aws)["claims"]
    return dict(found)


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ({"id": "a", "expected": {"equals": 5}}, True),
        ({"id": "a", "expected": {"at_most": 4}}, False),
        ({"id": "a", "expected": {"at_least": 5}}, True),
        ({"id": "b", "expected": {"contains": ["y"]}}, True),
        ({"id": "b", "expected": {"contains": ["z"]}}, False),
        ({"id": "b", "expected": {"at_most": 9}}, False),
        ({"id": "d", "expected": {"contains": {"p99": "met"}}}, True),
        ({"id": "d", "expected": {"contains": {"p99": "met", "avg": "met"}}}, False),
        ({"id": "made", "step": "make", "by_outcome": True, "expected": {"equals": "ok"}}, False),
        ({"id": "waited", "step": "make", "task": "Wait | It", "expected": {"at_most": 9.5}}, True),
        ({"id": "iam-denials", "expected": {"equals": []}}, False),
    ],
)
def test_on_aws_a_claim_is_settled_and_holds_or_not(claim: dict[str, Any], holds: bool) -> None:
    found = judged(claim)
    assert found["settled"]
    assert found["holds"] is holds


def test_elsewhere_only_what_anybody_can_see_is_settled() -> None:
    claim = {"id": "a", "expected": {"equals": 5}}
    assert judged({**claim, "anywhere": True}, on_aws=False)["settled"]
    found = judged(claim, on_aws=False)
    assert (found["settled"], found["holds"], found["seen"]) == (False, None, 5)
    assert "only AWS can settle" in found["reason"]


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"id": "c", "expected": {"equals": 5}}, "nothing was seen of it in the step look"),
        ({"id": "a", "step": "never", "expected": {"equals": 5}}, "the step never did not run"),
    ],
)
def test_what_was_not_seen_is_not_settled_and_says_why(claim: dict[str, Any], reason: str) -> None:
    found = judged(claim)
    assert not found["settled"]
    assert reason in found["reason"]


def test_the_evidence_has_the_failed_step_the_waits_and_the_refusals() -> None:
    found = evidence([], RAN, SEEN, True)
    assert found["failed_steps"] == ["make"]
    assert found["steps"][1]["message"] == "(address) is away"
    assert found["denials"] == ["ec2:RunInstances"]
    assert found["waits"] == [{"step": "make", "task": "Wait | It", "seconds": 9.5}]
