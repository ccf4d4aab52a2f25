"""The playbook asks the user for values that are missing, but only when it runs at a terminal."""

from __future__ import annotations

import os
import select
import subprocess
import time

import pytest

from .conftest import ROOT, Account
from .inventory_of_account import contents

PLAN = ["-i", "localhost,", str(ROOT / "playbooks/plan.yml")]


def at_a_terminal(account: Account, answers: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Run plan.yml at a terminal and answer its prompts. Return the exit code and the output.

    The keys of `answers` are the beginnings of the prompts.
    """
    ours, theirs = os.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *account.ansible_playbook, *PLAN, *arguments],
        cwd=account.folder,
        env=account.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as running:
        os.close(theirs)
        try:
            output = _talk(ours, answers)
        finally:
            os.close(ours)  # hangs up: who still reads there ends
        return running.wait(timeout=60), output


def _talk(terminal: int, answers: dict[str, str]) -> str:
    output, asked = "", ""
    end_s = time.monotonic() + 240
    while time.monotonic() < end_s:
        try:
            readable, _, _ = select.select([terminal], [], [], 1)
            if readable:
                output += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the last process has closed its side
            return output
        latest = max(answers, key=output.rfind)
        if latest in output and (latest != asked or not readable):
            # Before it reads an answer, Ansible discards what was typed earlier. An answer without effect is therefore
            # given again.
            os.write(terminal, answers[latest].encode() + b"\n")
            asked = latest
    pytest.fail(f"still running:\n{output}")


def test_at_a_terminal_both_are_asked_for_and_count_and_nothing_is_made(account: Account) -> None:
    before = contents(account)
    answers = {
        "trading_operator_cidr, the network you work from": "198.51.100.7/32",
        "trading_public_key_file, the file of your SSH public key": str(account.public_key_file),
    }
    code, output = at_a_terminal(account, answers)
    assert code == 0, output
    assert "instance trading-production-1" in output
    assert contents(account) == before


def test_at_a_terminal_only_what_was_not_given_is_asked_for(account: Account) -> None:
    answers = {"trading_public_key_file, the file of your SSH public key": "/nowhere/key.pub"}
    code, output = at_a_terminal(account, answers, "-e", "trading_operator_cidr=198.51.100.7/32")
    assert code != 0
    assert "the network you work from" not in output
    assert "trading_public_key_file: /nowhere/key.pub cannot be read" in output


def test_without_a_terminal_nothing_waits_and_both_are_refused_by_name(account: Account) -> None:
    done = subprocess.run(
        [*account.ansible_playbook, *PLAN],
        cwd=account.folder,
        env=account.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    for words in (
        *("trading_operator_cidr is not set", "checkip.amazonaws.com"),
        *("trading_public_key_file is not set", "ssh-keygen"),
    ):
        assert words in done.stdout + done.stderr
