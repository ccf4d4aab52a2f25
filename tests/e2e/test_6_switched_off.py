"""A role that is switched off removes what it has made. When it is switched on, it makes everything again.

The tests also check that people use the engine with the rights of their own roles. The timeline shows who did what.
Each test continues from the state that the previous test left.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.e2e.deployment import Deployment

pytestmark = pytest.mark.usefixtures("in_written_order")

TABLE = ("sudo", "nft", "list", "table", "inet", "trading")
WRITTEN = "/etc/ssh/sshd_config.d/10-trading.conf"
TAGS = ("--tags", "hardening_ssh,hardening_updates,hardening_firewall")


def test_hardening_is_taken_back_and_comes_again(deployed: Deployment) -> None:
    address = deployed.host()["ansible_host"]
    absent = deployed.play("playbooks/configure.yml", *TAGS, hardening_state="absent")
    assert absent.exit_code == 0, absent.output[-6000:]
    assert deployed.ssh(address, "test", "-e", WRITTEN).returncode == 1
    assert deployed.ssh(address, *TABLE).returncode == 1
    present = deployed.play("playbooks/configure.yml", *TAGS)
    assert present.exit_code == 0, present.output[-6000:]
    assert deployed.ssh(address, "test", "-e", WRITTEN).returncode == 0
    assert deployed.ssh(address, *TABLE).returncode == 0


def test_people_ask_the_engine_as_themselves(deployed: Deployment) -> None:
    address = deployed.host()["ansible_host"]
    roles = {"bert": "operator", "carl": "observer"}
    for name in roles:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(deployed.work / name)], check=True)
    keys = {name: (deployed.work / f"{name}.pub").read_text(encoding="utf-8") for name in roles}
    people = [{"name": name, "role": role, "keys": [keys[name]]} for name, role in roles.items()]
    tags = ("--tags", "hardening_people,hardening_ssh,trading_engine_units")
    configured = deployed.play("playbooks/configure.yml", *tags, hardening_operators=people)
    assert configured.exit_code == 0, configured.output[-6000:]

    def admin(name: str, *command: str) -> tuple[int, str]:
        program = ("/opt/trading/current/bin/trading-engine", "admin", *command)
        done = deployed.ssh(address, *program, user=name, key=deployed.work / name)
        return done.returncode, done.stdout + done.stderr

    assert admin("bert", "halt", "TEST") == (0, '{"done": "halt", "name": "TEST"}\n')
    code, said = admin("carl", "resume", "TEST")
    assert code == 2
    assert "carl has no role on this host that may do that" in said
    assert json.loads(admin("carl", "status")[1])["halted"] == ["TEST"]
    assert admin("bert", "resume", "TEST")[0] == 0
    refused = deployed.ssh(address, "/opt/trading/current/bin/trading-engine", "admin", "status")
    assert "Permission denied" in refused.stderr
    log = deployed.ssh(address, "sudo", "journalctl", "--unit", "trading-engine", "--output", "cat").stdout
    assert "admin: bert (operator): halt TEST: done\n" in log
    assert "admin: carl (observer): resume TEST: refused" in log
    analysis = ("sudo", "systemd-analyze", "security", "--no-pager", "trading-engine.service")
    exposure = float(deployed.ssh(address, *analysis).stdout.rpartition("trading-engine.service: ")[2].split()[0])
    assert exposure <= 1.4


def test_the_timeline_tells_who_did_what(deployed: Deployment) -> None:
    play = deployed.play("playbooks/audit.yml")
    assert play.exit_code == 0, play.output[-6000:]
    (written,) = deployed.reports.glob("audit-*.json")
    found = json.loads(written.read_text(encoding="utf-8"))
    told = {(row["kind"], row["who"], row["what"].split()[0]) for row in found["rows"]}
    assert {
        ("login", "bert", "from"),
        ("login", "debian", "from"),
        ("sudo", "debian", "as"),
        ("admin", "bert (operator)", "halt"),
        ("admin", "carl (observer)", "resume"),
        ("release", "debian", "release"),
    } <= told
    assert "nobody knows who changed this environment on AWS" in str(found["notes"])  # the emulator has no CloudTrail
