"""A role that is switched off takes back what it made."""

from __future__ import annotations

from tests.e2e.deployment import Deployment

WRITTEN = "/etc/ssh/sshd_config.d/10-trading.conf"
TAGS = ("--tags", "hardening_ssh,hardening_updates")


def test_hardening_is_taken_back_and_comes_again(deployed: Deployment) -> None:
    address = deployed.host()["ansible_host"]
    absent = deployed.play("playbooks/configure.yml", *TAGS, hardening_state="absent")
    assert absent.exit_code == 0, absent.output[-6000:]
    assert deployed.ssh(address, "test", "-e", WRITTEN).returncode == 1
    present = deployed.play("playbooks/configure.yml", *TAGS)
    assert present.exit_code == 0, present.output[-6000:]
    assert deployed.ssh(address, "test", "-e", WRITTEN).returncode == 0
