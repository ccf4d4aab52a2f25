"""The role hardening applies settings of sshd. It succeeds only when sshd itself reports these settings."""

from __future__ import annotations

from pathlib import Path

from tests.proofs.tuning_host import TuningHost

HARDEN = Path(__file__).with_name("harden.yml")
ALONE = ("--tags", "hardening_ssh")
CONFIG = "/etc/ssh/sshd_config"


def test_a_folder_that_nobody_includes_is_named(tuning_host: TuningHost) -> None:
    tuning_host.play_to_the_end(HARDEN, *ALONE)
    tuning_host.shell(f"cp {CONFIG} {CONFIG}.kept && sed -i /^Include/d {CONFIG}")
    try:
        play = tuning_host.play(HARDEN, *ALONE)
        assert play.exit_code != 0
        assert "10-trading.conf does not count on this host" in play.output
        assert "AuthenticationMethods is any instead of publickey" in play.output
    finally:
        tuning_host.shell(f"mv {CONFIG}.kept {CONFIG}")
    tuning_host.play_to_the_end(HARDEN, *ALONE)


def test_an_option_of_the_running_server_counts_more_than_the_file(tuning_host: TuningHost) -> None:
    tuning_host.shell("echo SSHD_OPTS=-oMaxAuthTries=6 > /etc/default/ssh && systemctl restart ssh")
    try:
        play = tuning_host.play(HARDEN, *ALONE)
        assert play.exit_code != 0
        assert "MaxAuthTries is 6 instead of 4" in play.output
        assert "-o MaxAuthTries=6" in play.output
    finally:
        tuning_host.shell("echo SSHD_OPTS= > /etc/default/ssh && systemctl restart ssh")
    tuning_host.play_to_the_end(HARDEN, *ALONE)
