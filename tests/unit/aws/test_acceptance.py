"""An acceptance run's claims, its evidence, its time limit, and how what an earlier run has left is found."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.action.playbook_run import command
from ansible_collections.lowlatency.trading.plugins.filter.evidence import COMPARISONS, evidence, expectation, redacted
from ansible_collections.lowlatency.trading.plugins.module_utils.acceptance import child
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import deployment

ROOT = Path(__file__).parents[3]
CLAIMS = yaml.safe_load((ROOT / "files/acceptance.yml").read_text(encoding="utf-8"))
VARIABLES_TEXT = (ROOT / "roles/acceptance/vars/main.yml").read_text(encoding="utf-8")
VARIABLES = yaml.safe_load(VARIABLES_TEXT)
STEPS = {one["name"]: one for one in VARIABLES["__acceptance_steps"] + VARIABLES["__acceptance_removal"]}
TASKS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles").glob("*/tasks/*.yml"))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_a_claim_says_what_is_expected_of_a_step_that_shows_it(claim: dict[str, Any]) -> None:
    assert set(claim) <= {"id", "claim", "step", "expected", "task", "by_outcome", "anywhere", "unit"}
    ((kind, _),) = claim["expected"].items()
    assert kind in COMPARISONS
    assert expectation(claim)
    assert claim["step"] in STEPS
    if "task" in claim:
        assert f"name: {claim['task']}\n" in TASKS
    elif not claim.get("by_outcome") and claim["id"] not in ("iam-denials", "promise"):
        noted = claim["id"].removesuffix("-cpus")
        where = re.findall(r"acceptance_claim: ([\w-]+)", VARIABLES_TEXT)
        part = ROOT / f"roles/acceptance/tasks/{STEPS[claim['step']].get('part')}.yml"
        assert noted in where or f"      {claim['id']}:" in part.read_text(encoding="utf-8")


def test_no_two_claims_have_one_id() -> None:
    assert len({claim["id"] for claim in CLAIMS}) == len(CLAIMS)


def test_every_step_has_its_playbook_and_its_part() -> None:
    for step in STEPS.values():
        assert (ROOT / f"playbooks/{step['playbook']}.yml").exists(), step
        assert "part" not in step or (ROOT / f"roles/acceptance/tasks/{step['part']}.yml").exists(), step


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
    """Return what the evidence says of one claim."""
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


def test_a_step_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(600)"]
    ended = child.run(command, dict(os.environ), str(tmp_path / "log"), 0.1)
    assert ended.limit_reached
    assert ended.code == -signal.SIGTERM


def test_a_step_that_ends_in_time_says_how(tmp_path: Path) -> None:
    ended = child.run([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ), str(tmp_path / "log"), 60)
    assert (ended.code, ended.limit_reached) == (3, False)


# As Ansible does: what runs the step is a process of its own, and its parent is killed.
PROGRAM = """
    import os, sys
    from ansible_collections.lowlatency.trading.plugins.module_utils.acceptance import child
    if os.fork() == 0:
        os.setsid()
        step = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
        child.run([sys.executable, "-c", step], dict(os.environ), sys.argv[1], 600)
        os._exit(0)
    os.wait()
"""


def test_a_step_does_not_outlive_a_run_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(log)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}) as run:
        assert becomes_true(lambda: log.exists() and log.read_text().endswith("\n"))
        step = Path("/proc") / log.read_text().strip()
        assert step.exists()
        run.kill()
    assert becomes_true(lambda: not step.exists())


def becomes_true(look: Any, within_s: float = 60) -> bool:
    """Return whether it becomes true before the limit, which is for a test that hangs."""
    end_s = time.monotonic() + within_s
    while not look():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.02)
    return True


def test_what_aws_refused_is_found_in_a_log_of_broken_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("User: arn:aws:iam::1:user/x is not\n  authorized to perform: iam:PassRole on resource\n")
    assert child.denials(str(log)) == ["iam:PassRole"]
    log.write_text("An error occurred (UnauthorizedOperation) when calling")
    assert child.denials(str(log)) == ["UnauthorizedOperation"]


def test_tasks_are_read_from_what_ansible_writes(tmp_path: Path) -> None:
    book = tmp_path / "book.yml"
    tasks = [
        {"name": "File | Say it", "ansible.builtin.debug": {"msg": "said"}},
        {"name": "File | Change it", "ansible.builtin.debug": {"msg": "made"}, "changed_when": True},
        {"name": "File | Fail", "ansible.builtin.fail": {"msg": "That is why"}},
    ]
    book.write_text(json.dumps([{"name": "The play", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit",
        "JUNIT_OUTPUT_DIR": str(tmp_path),
        "JUNIT_HIDE_TASK_ARGUMENTS": "true",
    }
    words = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(book)]
    assert child.run(words, environment, str(tmp_path / "log"), 120).code == 2
    found = [(one["task"], one["outcome"], one["changed"]) for one in child.tasks(str(tmp_path))]
    assert found == [
        ("File | Say it", "ok", False),
        ("File | Change it", "ok", True),
        ("File | Fail", "failed", False),
    ]
    assert "That is why" in child.tasks(str(tmp_path))[2]["message"]


def test_another_playbook_is_given_what_opens_the_users_files_and_hosts() -> None:
    given = {"playbook": "site.yml", "inventory": "localhost,", "inventories": [], "check": False, "folder": "/f"}
    options = {
        "extra_vars": ("a=1",),
        "vault_password_files": ["word"],
        "vault_ids": [],
        "become_password_file": "sudo",
        "connection_password_file": "ssh",
        "private_key_file": "key",
        "remote_user": None,
    }
    passwords = ["--become-password-file", "sudo", "--connection-password-file", "ssh"]
    opened = ["--vault-password-file", "word", *passwords, "--private-key", "key"]
    ours = ["-e", "a=1", "-e", "@/f/variables.json", "site.yml"]
    assert command(given, options)[4:] == ["-i", "localhost,", *opened, *ours]
    several = {**given, "inventories": ["b,", "c"], "check": True}
    assert command(several, {})[4:] == ["-i", "b,", "-i", "c", "--check", *ours[2:]]


LISTS = (
    *("Tags", "Vpcs", "Subnets", "InternetGateways", "RouteTables", "SecurityGroups", "VpcEndpoints", "Volumes"),
    *("LaunchTemplates", "Reservations", "Snapshots", "KeyPairs", "PlacementGroups", "FlowLogs", "Addresses"),
    *("Roles", "InstanceProfiles", "Policies", "logGroups", "DashboardEntries", "Topics", "Buckets"),
)


class Account:
    """A client whose every answer is empty, but for what it is told."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def __getattr__(self, operation: str) -> Any:
        return lambda **_: self.answer(operation)

    def answer(self, operation: str) -> dict[str, Any]:
        return {**{name: [] for name in LISTS}, **self.found.get(operation, {})}

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **_: [self.answer(operation)])


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (
            {"describe_log_groups": {"logGroups": [{"arn": "a", "logGroupName": "/trading/accept-1/host"}]}},
            ["accept-1"],
        ),
        ({"list_topics": {"Topics": [{"TopicArn": "arn:aws:sns:us-east-1:1:trading-accept-1-alarms"}]}}, ["accept-1"]),
        ({"list_buckets": {"Buckets": [{"Name": "trading-accept-1-123456789012-us-east-1"}]}}, ["accept-1"]),
        (
            {"list_roles": {"Roles": [{"Path": "/lowlatency-trading/accept-1/", "Arn": "a", "RoleName": "b"}]}},
            ["accept-1"],
        ),
        (
            {"describe_alarms": {"MetricAlarms": [{"AlarmName": "trading-accept-1/h/cpu", "AlarmArn": "a"}]}},
            ["accept-1"],
        ),
        # A terminated instance keeps its tags for an hour, and is nothing.
        ({"describe_tags": {"Tags": [{"Value": "accept-1"}]}}, []),
        ({"list_topics": {"Topics": [{"TopicArn": "arn:aws:sns:us-east-1:1:trading-production-alarms"}]}}, []),
    ],
)
def test_environments_are_found_by_the_beginning_of_their_names(found: dict[str, Any], names: list[str]) -> None:
    client = Account(found)
    assert list(deployment.environments(lambda _: client, "accept-")) == names
