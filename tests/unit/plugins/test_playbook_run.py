"""The module playbook_run runs a playbook as a step of another playbook.

The tests check the module's time limit, the end of a run, the content of its logs, and the module's inputs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from ansible_collections.lowlatency.trading.plugins.action.playbook_run import command
from ansible_collections.lowlatency.trading.plugins.module_utils.acceptance import child


def test_a_step_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(600)"]
    ended = child.run(command, dict(os.environ), str(tmp_path / "log"), 0.1)
    assert ended.limit_reached
    assert ended.code == -signal.SIGTERM


def test_a_step_that_ends_in_time_says_how(tmp_path: Path) -> None:
    ended = child.run([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ), str(tmp_path / "log"), 60)
    assert (ended.code, ended.limit_reached) == (3, False)


# This program replaces Ansible. A child process with a session of its own runs the step, and the test kills the child's
# parent.
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
    """Return whether the condition becomes true within `within_s`.

    This time is long, so that only a test that hangs reaches it.
    """
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
