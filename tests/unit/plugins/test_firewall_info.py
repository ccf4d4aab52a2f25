"""The module firewall_info reads whether firewalls are on, whether rules are proven, and who is connected.

Rules are proven when the host could be reached while they were loaded.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import firewall_info as module


@pytest.mark.parametrize(
    ("configuration", "is_on"),
    [("# ENABLED=yes\nENABLED=no\n", False), ("ENABLED=yes\nLOGLEVEL=low\n", True), ('  ENABLED = "YES"\n', True)],
)
def test_ufw_filters_where_its_file_says_so(configuration: str, is_on: bool) -> None:
    assert module.ufw_is_on(configuration) is is_on


def test_rules_are_proven_where_both_files_say_the_same(tmp_path: Path) -> None:
    rules, proven = tmp_path / "rules", tmp_path / "proven"
    assert not module.is_proven(str(rules), str(proven))
    rules.write_bytes(b"new")
    assert not module.is_proven(str(rules), str(proven))
    proven.write_bytes(b"old")
    assert not module.is_proven(str(rules), str(proven))
    proven.write_bytes(b"new")
    assert module.is_proven(str(rules), str(proven))
    assert not module.is_proven(None, None)


# Output of the program ss in iproute2 6.1.
SESSIONS = """0      0             10.0.0.5:9001        203.0.113.9:51514
0      36            10.0.0.5:22         198.51.100.7:40022
0      0            127.0.0.1:9001          127.0.0.1:33210
0      0             10.0.0.5:9001           10.0.0.5:33212
0      0             10.0.0.5:40112       203.0.113.9:9001
0      0    [::ffff:10.0.0.5]:9002 [::ffff:192.0.2.1]:40004
0      0      [fe80::1%ens5]:9002       [2001:db8::9]:40006
"""


def test_sessions_from_no_declared_network_are_named() -> None:
    both = ["192.0.2.1 on port 9002", "2001:db8::9 on port 9002", "203.0.113.9 on port 9001"]
    assert module.outsiders(SESSIONS, [9001, 9002], []) == both
    assert module.outsiders(SESSIONS, [9001, 9002], ["203.0.113.9/24", "2001:db8::/64"]) == both[:1]
    assert module.outsiders(SESSIONS, [9001], ["0.0.0.0/0"]) == []


def test_users_that_exist_are_numbers() -> None:
    assert module.numbers(["root", "no-such-user"]) == {"root": 0}
