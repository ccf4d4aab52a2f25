"""The system service tuned also sets kernel values. The role os_tuning reports this service.

The role stops the service only if the user allows this. When the role's tuning is removed, the role starts the service
again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.proofs.interrupted import FORGOTTEN_AT_BOOT
from tests.proofs.tuning_host import TUNE, UNTUNE, TuningHost, changes

VALUE = "/proc/sys/net/ipv4/tcp_notsent_lowat"
THEIRS, OURS = "65536", "131072"
# A fake tuned. It sets its values when it starts, and sets the earlier values again when it stops.
STAND_IN = f"""
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c "cat {VALUE} > /run/tuned-found; echo {THEIRS} > {VALUE}"
ExecStop=/bin/sh -c "cat /run/tuned-found > {VALUE}"
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def beside_tuned(tuning_host: TuningHost) -> Iterator[TuningHost]:
    unit = "/etc/systemd/system/tuned.service"
    tuning_host.shell(f"printf %s {shlex.quote(STAND_IN)} > {unit}")
    tuning_host.shell("mkdir -p /etc/tuned; echo virtual-guest > /etc/tuned/active_profile")
    tuning_host.shell("systemctl daemon-reload; systemctl enable --now tuned.service 2>&1")
    yield tuning_host
    tuning_host.shell(f"systemctl disable --now tuned.service 2>&1; rm -r {unit} /etc/tuned; systemctl daemon-reload")


def how_it_is(host: TuningHost) -> tuple[str, str, str]:
    """Return three texts: the kernel's value, whether tuned is active, and whether tuned is enabled.

    The last two texts are words of systemd, such as "active".
    """
    shown = host.shell(f"cat {VALUE}; systemctl is-active tuned.service; systemctl is-enabled tuned.service; true")
    value, active, enabled = shown.split()
    return value, active, enabled


def test_a_host_that_tuned_tunes_is_left_to_it_or_taken_over_and_given_back(beside_tuned: TuningHost) -> None:
    host = beside_tuned
    before = host.state()
    refused = host.play(TUNE)
    assert refused.exit_code == 2
    assert "tuned.service with its profile virtual-guest tunes this host as well" in refused.output
    assert (host.state(), how_it_is(host)) == (before, (THEIRS, "active", "enabled"))

    taken = host.play_to_the_end(TUNE, "-e", "os_tuning_stop_tuned=true")
    assert "Stopped until the tuning is undone: tuned.service" in taken.output
    assert how_it_is(host) == (OURS, "inactive", "disabled")
    assert "changed=0" in host.play_to_the_end(TUNE).output

    host.play_to_the_end(UNTUNE)
    left = changes(before, host.state())
    left.pop(FORGOTTEN_AT_BOOT, None)  # another test may have left it
    assert (left, how_it_is(host)) == ({}, (THEIRS, "active", "enabled"))
