"""The role hardening creates Linux users for a list of people, and closes users of people who leave the list.

A user has the rights of the person's own role, such as operator. Open sessions of a closed user end. The SSH server
also gets keys from a command, as with EC2 Instance Connect.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sandbox.conftest import eventually
from tests.integration.tuning.test_firewall import files
from tests.proofs.tuning_host import Play, TuningHost, changes

HARDEN = Path(__file__).with_name("harden.yml")
# Runs only the role's tasks for people and SSH, to save time. The fixture `settled` runs all tasks of the role.
ALONE = ("--tags", "hardening_people,hardening_ssh")
ROLES = {"anna": "deployer", "bert": "operator", "carl": "observer"}
STRANGER = "dora"
PROGRAM = "/usr/share/ec2-instance-connect/eic_run_authorized_keys"  # its path in Ubuntu
# Prints all users and groups in a fixed order. The tools that write these files change the order of lines.
LISTS = "sort /etc/passwd /etc/group /etc/shadow /etc/gshadow | cut -d: -f1-2 | uniq; ls /home"


@dataclass
class People:
    """People with SSH keys, and the host to which they log in."""

    host: TuningHost
    folder: Path

    def __post_init__(self) -> None:
        for name in (*ROLES, STRANGER):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)

    def key(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text(encoding="utf-8")

    def declared(self, *names: str, keys: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """Return these people in the form of the input hardening_operators.

        `keys` gives some people the key of another person.
        """
        given = keys or {}
        return [{"name": name, "role": ROLES[name], "keys": [self.key(given.get(name, name))]} for name in names]

    def argv(self, name: str, command: str, key: str = "", *options: str) -> list[str]:
        known = ["-o", f"UserKnownHostsFile={self.host.cloud.directory / 'known_hosts'}", "-o", "LogLevel=ERROR"]
        only = ["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", str(self.folder / (key or name))]
        return ["ssh", *options, *known, *only, f"{name}@{self.host.address}", command]

    def ssh(self, name: str, command: str, key: str = "", *options: str) -> subprocess.CompletedProcess[str]:
        argv = self.argv(name, command, key, *options)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    @contextmanager
    def session(self, name: str, key: str = "") -> Iterator[subprocess.Popen[str]]:
        """Open an SSH session as this person and yield the client's process.

        The session starts a process on the host that survives the end of its terminal.
        """
        argv = self.argv(name, "trap '' HUP TERM; setsid sleep 1000 & echo open; cat", key)
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
            assert session.stdout
            assert session.stdout.readline() == "open\n"
            yield session

    def play(self, names: list[str], as_whom: str = "", parts: tuple[str, ...] = ALONE, **variables: Any) -> Play:
        given = {"hardening_operators": self.declared(*names), **variables}
        if as_whom:
            given |= {"ansible_user": as_whom, "ansible_ssh_private_key_file": str(self.folder / as_whom)}
        return self.host.play(HARDEN, *parts, "-e", json.dumps(given))


def refused(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == 255 and "Permission denied (publickey)" in done.stderr


@pytest.fixture(scope="module")
def people(tuning_host: TuningHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    them = People(tuning_host, tmp_path_factory.mktemp("people"))
    hands_out = f"(echo '#!/bin/sh'; echo echo {them.key(STRANGER).strip()}) | install -D /dev/stdin {PROGRAM}"
    options = f"-oAuthorizedKeysCommand={PROGRAM} -oAuthorizedKeysCommandUser=nobody"
    tuning_host.play_to_the_end(HARDEN, "-e", "hardening_state=absent")
    tuning_host.shell(f"{hands_out}; echo 'SSHD_OPTS=\"{options}\"' > /etc/default/ssh; systemctl restart ssh")
    try:
        eventually(lambda: them.ssh("debian", "true", STRANGER).returncode == 0)
        yield them
    finally:
        tuning_host.shell(f"echo SSHD_OPTS= > /etc/default/ssh; systemctl restart ssh; rm {PROGRAM}")


@pytest.fixture(scope="module")
def before(people: People) -> tuple[dict[str, str], str]:
    return files(people.host), people.host.shell(LISTS)


@pytest.fixture(scope="module")
def settled(people: People, before: tuple[dict[str, str], str]) -> People:
    assert before
    play = people.play(list(ROLES), parts=())
    assert play.exit_code == 0, play.output[-4000:]
    return people


def test_an_account_of_somebody_else_is_refused_before_anything_changes(
    people: People, before: tuple[dict[str, str], str]
) -> None:
    play = people.play([], hardening_operators=[{"name": "debian", "role": "deployer", "keys": [people.key("anna")]}])
    assert play.exit_code != 0
    assert "hardening_operators names debian, which this host has already" in " ".join(play.output.split())
    assert changes(before[0], files(people.host)) == {}


def test_each_person_has_the_rights_of_the_role(settled: People) -> None:
    assert {name: settled.ssh(name, "sudo -n id -u").stdout.strip() for name in ROLES} == {
        "anna": "0",
        "bert": "",
        "carl": "",
    }
    for name in ROLES:
        logged = settled.ssh(name, "journalctl --quiet --unit ssh --lines 1 && systemctl status ssh")
        assert logged.returncode == 0, logged.stderr
        assert "ssh" in logged.stdout


def test_nobody_else_gets_in(settled: People) -> None:
    assert refused(settled.ssh("debian", "true", STRANGER))  # the server's command supplies this key
    assert refused(settled.ssh("bert", "true", "carl"))
    assert refused(settled.ssh("root", "true", "anna"))
    by_password = settled.ssh("anna", "true", "", "-o", "PreferredAuthentications=password,keyboard-interactive")
    assert refused(by_password)


def test_a_key_that_somebody_adds_does_not_count(settled: People) -> None:
    added = settled.ssh("bert", f"mkdir -p -m 700 .ssh; echo '{settled.key(STRANGER)}' > .ssh/authorized_keys")
    assert added.returncode == 0
    assert refused(settled.ssh("bert", "true", STRANGER))


def test_the_first_user_is_closed_by_a_deployer_only(settled: People) -> None:
    play = settled.play(list(ROLES), hardening_bootstrap_user="closed")
    assert play.exit_code != 0
    assert "but this run logs in as debian: have a deployer run it" in " ".join(play.output.split())


def test_who_is_removed_loses_key_session_and_rights_and_the_first_user_is_closed(settled: People) -> None:
    people = settled.declared("anna", "carl", keys={"carl": STRANGER})
    with settled.session("bert") as removed, settled.session("carl") as other_key:
        play = settled.play([], "anna", hardening_operators=people, hardening_bootstrap_user="closed")
        assert play.exit_code == 0, play.output[-4000:]
        assert (removed.wait(60), other_key.wait(60)) == (255, 255)
    assert "carl: processes ended" in play.output
    assert refused(settled.ssh("carl", "true"))
    assert settled.ssh("carl", "true", STRANGER).returncode == 0
    assert "bert: account closed" in play.output
    assert "bert: processes ended" in play.output  # the run fails if this takes more than five seconds
    assert refused(settled.ssh("bert", "true"))
    assert refused(settled.ssh("debian", "true", str(settled.host.cloud.key_file)))
    seen = settled.ssh("anna", "ps -u bert -o pid=; id -nG bert; getent passwd bert").stdout.split()
    assert seen[0] == "bert"
    assert seen[-1].endswith(":/usr/sbin/nologin")
    with settled.session("carl", STRANGER) as kept:
        again = settled.play([], "anna", hardening_operators=people, hardening_bootstrap_user="closed")
        assert "changed=0" in again.output
        assert kept.poll() is None
        kept.terminate()


def test_the_last_deployer_is_kept_while_the_first_user_is_closed(settled: People) -> None:
    play = settled.play(["carl"], "anna", hardening_bootstrap_user="closed")
    assert play.exit_code != 0
    assert "hardening_operators has no deployer: nobody could change this host" in " ".join(play.output.split())
    assert settled.ssh("anna", "sudo -n true").returncode == 0


def test_absent_brings_back_what_was_there(settled: People, before: tuple[dict[str, str], str]) -> None:
    own = settled.play([], "anna", hardening_state="absent")
    assert own.exit_code != 0
    assert "Ansible logs in as anna, whose account would be removed" in " ".join(own.output.split())
    opened = settled.play(["anna"], "anna", hardening_ssh_users=["debian"])
    assert opened.exit_code == 0, opened.output[-4000:]
    settled.host.play_to_the_end(HARDEN, "-e", "hardening_state=absent")
    assert changes(before[0], files(settled.host)) == {}
    assert settled.host.shell(LISTS) == before[1]
