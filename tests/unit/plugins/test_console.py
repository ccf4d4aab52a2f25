"""SSH host keys are read from an instance's console. The newest complete block of keys counts."""

from __future__ import annotations

from ansible_collections.lowlatency.trading.plugins.module_utils.aws import console

BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
END = "-----END SSH HOST KEY KEYS-----"


def test_the_ed25519_key_is_preferred() -> None:
    output = f"[  9.1] boot\r\n{BEGIN}\r\nssh-rsa AAAAB3Nz root@h\r\nssh-ed25519 AAAAC3Nz root@h\r\n{END}\r\n"
    assert console.host_key(output) == "ssh-ed25519 AAAAC3Nz"


def test_lines_may_carry_a_log_prefix() -> None:
    output = f"<14>Nov 23 cloud-init: {BEGIN}\n<14>Nov 23 cloud-init: ssh-rsa AAAAB3Nz root@h\n<14>x: {END}\n"
    assert console.host_key(output) == "ssh-rsa AAAAB3Nz"


def test_the_newest_block_counts() -> None:
    output = f"{BEGIN}\nssh-ed25519 AAAAold a\n{END}\n…\n{BEGIN}\nssh-ed25519 AAAAnew a\n{END}\n"
    assert console.host_key(output) == "ssh-ed25519 AAAAnew"


def test_half_a_block_is_no_key() -> None:
    assert console.host_key(f"{BEGIN}\nssh-ed25519 AAAAC3Nz root@h\n") is None


def test_other_output_is_no_key() -> None:
    assert console.host_key("ssh-ed25519 AAAAC3Nz somebody typed this\nlogin:") is None
