"""Which firewalls a host has."""

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


def test_users_that_do_not_exist_are_named() -> None:
    assert module.missing(["root", "no-such-user"]) == ["no-such-user"]
