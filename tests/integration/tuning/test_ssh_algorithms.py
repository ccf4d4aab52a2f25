"""ssh-audit, in a fixed version, finds no fault in the algorithms that a host's SSH server offers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.proofs.tuning_host import ROOT, TuningHost

HARDEN = Path(__file__).with_name("harden.yml")
ALONE = ("--tags", "hardening_ssh")
RUN = """
. "$0/scripts/lib.sh"
use_venv
packages_apart "$cache/ssh-audit" "$0/tests/ssh/requirements.lock"
PYTHONPATH=$cache/ssh-audit exec python -m ssh_audit.ssh_audit --skip-rate-test -jj "$1"
"""
# By default, OpenSSH before 9.0 offers only key exchanges that a quantum computer could break. Such clients need these.
EXPLAINED = {
    ("kex", "curve25519-sha256"),
    ("kex", "curve25519-sha256@libssh.org"),
    ("kex", "diffie-hellman-group16-sha512"),
    ("kex", "diffie-hellman-group18-sha512"),
}


def audit(address: str) -> dict[str, Any]:
    done = subprocess.run(["bash", "-c", RUN, ROOT, address], capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def complaints(found: dict[str, Any], kind: str) -> set[tuple[str, str]]:
    """Return the algorithms to which ssh-audit adds a note of this kind, "fail" or "warn".

    Each algorithm is given by the name of its list and its own name.
    """
    return {
        (list_of, entry["algorithm"])
        for list_of in ("kex", "key", "enc", "mac")
        for entry in found[list_of]
        if entry.get("notes", {}).get(kind)
    }


def test_settings_by_which_the_controller_cannot_log_in_are_taken_back_and_the_play_says_so(
    tuning_host: TuningHost,
) -> None:
    tuning_host.play_to_the_end(HARDEN, *ALONE, "-e", "hardening_state=absent")
    # A controller that knows only this key exchange. The host accepts it until the role's settings are in force.
    old = {"ansible_ssh_args": "-o KexAlgorithms=ecdh-sha2-nistp256", "hardening_firewall_confirm_seconds": 20}
    play = tuning_host.play(HARDEN, *ALONE, "-e", json.dumps(old))
    assert play.exit_code != 0
    assert "The new SSH settings would have locked this controller out" in " ".join(play.output.split())
    assert tuning_host.shell("ls /etc/ssh/sshd_config.d | grep -c trading || true") == "0"


def test_ssh_audit_fails_nothing_and_warns_of_nothing_that_is_not_explained(tuning_host: TuningHost) -> None:
    tuning_host.play_to_the_end(HARDEN, *ALONE, "-e", "hardening_state=absent")
    assert len(complaints(audit(tuning_host.address), "fail")) == 6  # with Debian 12's settings
    tuning_host.play_to_the_end(HARDEN, *ALONE)
    found = audit(tuning_host.address)
    assert complaints(found, "fail") == set()
    assert complaints(found, "warn") <= EXPLAINED
    assert found["cves"] == []
