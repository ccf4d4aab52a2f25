"""When a unit is restarted, and when that is only reported. The module as a whole is tested on a machine (molecule)."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.lowlatency.trading.plugins.modules.fresh_unit import Observed, changed_s, parse_started, plan

UP_TO_DATE = Observed(known=True, enabled=True, active=True, needs_reload=False, younger=(), disturbed=0)
STALE = replace(UP_TO_DATE, younger=("/etc/engine.toml",))


@pytest.mark.parametrize("restart", ["idle", "always", "never"])
def test_a_unit_that_is_up_to_date_is_left_alone(restart: str) -> None:
    wanted = plan(UP_TO_DATE, restart)
    assert (wanted.actions, wanted.restart_required) == ((), False)


@pytest.mark.parametrize("restart", ["idle", "always", "never"])
def test_a_new_unit_is_enabled_and_started_whatever_the_policy(restart: str) -> None:
    new = Observed(known=True, enabled=False, active=False, needs_reload=True, younger=(), disturbed=0)
    assert plan(new, restart).actions == ("reload", "enable", "start")


@pytest.mark.parametrize(
    ("restart", "disturbed", "restarted"),
    [
        ("always", 7, True),
        ("never", 0, False),
        ("idle", 0, True),
        ("idle", 1, False),
        ("idle", None, False),
    ],
)
def test_a_stale_unit_is_restarted_only_as_the_policy_allows(
    restart: str, disturbed: int | None, restarted: bool
) -> None:
    wanted = plan(replace(STALE, disturbed=disturbed), restart)
    assert ("restart" in wanted.actions) is restarted
    assert wanted.restart_required is not restarted
    assert "/etc/engine.toml" in wanted.reason


def test_a_changed_unit_file_is_loaded_even_when_no_restart_is_allowed() -> None:
    assert plan(replace(STALE, needs_reload=True), "never").actions == ("reload",)


def test_a_start_time_is_read_as_systemd_prints_it() -> None:
    assert parse_started("Mon 2026-11-23 15:49:08.123456 UTC") == pytest.approx(1795448948.123456)
    assert parse_started("n/a") == parse_started("") == 0.0


def test_a_file_moved_into_place_is_younger_than_a_process_started_before(tmp_path: Path) -> None:
    old = tmp_path / "prepared"
    old.write_text("x")
    os.utime(old, (1, 1))
    before_s = time.time() - 1
    old.rename(tmp_path / "engine.toml")
    assert changed_s(str(tmp_path / "engine.toml")) > before_s
    assert changed_s(str(tmp_path / "absent")) == 0.0
