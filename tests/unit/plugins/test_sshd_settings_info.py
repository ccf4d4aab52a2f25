"""The module sshd_settings_info compares the settings that an SSH server reports with the wanted settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import sshd_settings_info as module

# Output of `sshd -T` in Debian 12, which has OpenSSH 9.2.
OUTPUT = """port 22
maxauthtries 6
permitrootlogin without-password
passwordauthentication yes
authenticationmethods any
allowusers debian
allowusers operator
"""


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0", []),
        (
            "sshd: /usr/sbin/sshd -D -o PasswordAuthentication=yes -f /etc/ssh/other [listener] 1 of 10-100 startups",
            ["-o", "PasswordAuthentication=yes", "-f", "/etc/ssh/other"],
        ),
        ("/usr/sbin/sshd\0-D\0-p2222\0", ["-p", "2222"]),
        (  # Ubuntu's images on EC2, with EC2 Instance Connect
            "sshd: /usr/sbin/sshd -D -o AuthorizedKeysCommand /usr/share/ec2-instance-connect/eic_run_authorized_keys"
            " %u %f -o AuthorizedKeysCommandUser ec2-instance-connect [listener] 0 of 10-100 startups\0\0",
            [
                "-o",
                "AuthorizedKeysCommand /usr/share/ec2-instance-connect/eic_run_authorized_keys %u %f",
                "-o",
                "AuthorizedKeysCommandUser ec2-instance-connect",
            ],
        ),
    ],
)
def test_options_of_the_running_server_are_found(command_line: str, expected: list[str]) -> None:
    assert module.arguments(command_line) == expected


def test_what_is_not_as_wanted_is_named() -> None:
    wanted = {
        "MaxAuthTries": 6,
        "PermitRootLogin": "prohibit-password",
        "AllowUsers": ["operator", "debian"],
        "PasswordAuthentication": "no",
        "AuthenticationMethods": "publickey",
        "PermitTunnel": "no",
    }
    assert module.compare(module.parse(OUTPUT), wanted) == [
        "PasswordAuthentication is yes instead of no",
        "AuthenticationMethods is any instead of publickey",
        "PermitTunnel is not set instead of no",
    ]


def test_an_algorithm_of_host_keys_is_taken_where_the_host_has_such_a_key(tmp_path: Path) -> None:
    """If a server allowed only algorithms for which it has no host key, no client could connect."""
    names = ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"]
    (tmp_path / "rsa.pub").write_text("ssh-rsa AAAA root@host\n")
    (tmp_path / "ecdsa.pub").write_text("ecdsa-sha2-nistp256 AAAA root@host\n")
    paths = [str(tmp_path / name) for name in ("rsa", "ecdsa", "missing")]
    types = module.key_types({"hostkey": paths})
    assert types == {"ssh-rsa", "ecdsa-sha2-nistp256"}
    assert module.usable(names, types) == ["rsa-sha2-512", "rsa-sha2-256"]
    assert module.usable(names, {"ecdsa-sha2-nistp256"}) == []
    assert module.key_types({"hostkey": paths, "hostcertificate": ["/etc/ssh/certificate"]}) == set()
