"""Code that is meant only for Amazon Linux runs here on a Debian machine that imitates Amazon Linux.

This code has never run on a real Amazon Linux.
"""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote

from tests.proofs.tuning_host import UNTUNE, TuningHost

HARDEN = Path(__file__).with_name("harden.yml")
ALONE = ("--tags", "hardening_updates")
DNF = '#!/bin/sh\necho "$@" >> /run/dnf.said\n'


def test_security_updates_are_installed_in_the_window(tuning_host: TuningHost) -> None:
    """Security updates are installed in the time window that the user has chosen.

    A script replaces dnf, the package manager, and records the arguments that it gets.
    """
    assert tuning_host.shell("ls /usr/bin/unattended-upgrade || true") == ""
    tuning_host.shell(f"printf %s {quote(DNF)} > /usr/bin/dnf; chmod +x /usr/bin/dnf")
    timer = "trading-security-updates.timer"
    try:
        play = tuning_host.play_to_the_end(HARDEN, *ALONE)
        assert f"{timer} at Sun *-*-* 04:00:00 UTC, which reboots nothing" in play.output
        assert tuning_host.shell(f"systemctl is-active {timer}") == "active"
        assert tuning_host.shell(f"systemctl is-enabled {timer}") == "enabled"
        tuning_host.shell("systemctl start trading-security-updates.service")
        assert tuning_host.shell("cat /run/dnf.said") == "upgrade --security --releasever=latest --assumeyes"
        again = tuning_host.play_to_the_end(HARDEN, *ALONE)
        assert "changed=0" in again.output
        tuning_host.play_to_the_end(HARDEN, *ALONE, "-e", "hardening_security_updates=false")
        assert tuning_host.shell(f"systemctl is-active {timer} || true") == "inactive"
        assert tuning_host.shell("find /etc -name '*trading-security-updates*'") == ""
    finally:
        tuning_host.shell("rm -f /usr/bin/dnf /run/dnf.said")


def test_boot_arguments_go_through_grubby_and_come_back(tuning_host: TuningHost) -> None:
    before = tuning_host.shell("cat /usr/sbin/entry")
    play = tuning_host.play_to_the_end(Path(__file__).with_name("amazon_linux_look_alike.yml"))
    assert "lowlatency.trading.hardening : Ssh | Reload the SSH service" in play.host_tasks
    assert {"skew_tick=1", "isolcpus=managed_irq,domain,1"} <= set(tuning_host.shell("cat /usr/sbin/entry").split())
    assert json.loads(tuning_host.shell("cat /var/lib/os-tuning.json"))["reboot_required"]
    tuning_host.play_to_the_end(UNTUNE)
    assert tuning_host.shell("cat /usr/sbin/entry") == before
