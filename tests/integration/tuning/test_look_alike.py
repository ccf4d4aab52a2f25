"""The ways that only Amazon Linux takes, on a machine that looks like it; none of it was ever run on Amazon Linux."""

from __future__ import annotations

import json
from pathlib import Path

from tests.proofs.tuning_host import UNTUNE, TuningHost


def test_boot_arguments_go_through_grubby_and_come_back(tuning_host: TuningHost) -> None:
    before = tuning_host.shell("cat /usr/sbin/entry")
    play = tuning_host.play_to_the_end(Path(__file__).with_name("look_alike.yml"))
    assert "lowlatency.trading.hardening : Ssh | Reload the SSH service" in play.host_tasks
    assert {"skew_tick=1", "isolcpus=managed_irq,domain,1"} <= set(tuning_host.shell("cat /usr/sbin/entry").split())
    assert json.loads(tuning_host.shell("cat /var/lib/os-tuning.json"))["reboot_required"]
    tuning_host.play_to_the_end(UNTUNE)
    assert tuning_host.shell("cat /usr/sbin/entry") == before
