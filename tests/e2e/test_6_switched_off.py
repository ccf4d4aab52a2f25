"""A role that is switched off takes back what it made."""

from __future__ import annotations

from tests.e2e.deployment import Deployment

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
