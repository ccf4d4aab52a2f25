"""A running systemd unit can have started before its files were changed.

The module fresh_unit then restarts the unit, or only reports that a restart is needed. Molecule tests the module with a
real systemd.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.modules.fresh_unit import (
    Observed,
    TakenOver,
    can_take_over,
    changed_s,
    parse_started,
    plan,
)

from .conftest import RunModule

UP_TO_DATE = Observed(known=True, masked=False, enabled=True, active=True, needs_reload=False, younger=(), disturbed=0)
STALE = replace(UP_TO_DATE, younger=("/etc/engine.toml",))


@pytest.mark.parametrize("restart", ["idle", "always", "never"])
def test_a_unit_that_is_up_to_date_is_left_alone(restart: str) -> None:
    wanted = plan(UP_TO_DATE, restart)
    assert (wanted.actions, wanted.restart_required) == ((), False)


@pytest.mark.parametrize("restart", ["idle", "always", "never"])
def test_a_new_unit_is_enabled_and_started_whatever_the_policy(restart: str) -> None:
    new = Observed(known=True, masked=False, enabled=False, active=False, needs_reload=True, younger=(), disturbed=0)
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


SOURCES = ["/etc/engine.toml", "/etc/accounts.toml"]


@pytest.mark.parametrize(
    ("younger", "can"),
    [
        ((), False),
        (("/etc/engine.toml",), True),
        (("/etc/accounts.toml", "/etc/engine.toml"), True),
        (("/etc/engine.toml", "/opt/current"), False),
    ],
)
def test_a_process_takes_over_only_where_nothing_else_is_younger(younger: tuple[str, ...], can: bool) -> None:
    assert can_take_over(replace(UP_TO_DATE, younger=younger), SOURCES) is can
    assert not can_take_over(replace(UP_TO_DATE, younger=younger, needs_reload=True), SOURCES)


@pytest.mark.parametrize("restart", ["idle", "always", "never"])
def test_a_process_that_took_its_files_over_is_not_restarted(restart: str) -> None:
    busy = replace(STALE, disturbed=7)
    wanted = plan(busy, restart, TakenOver(True, ""))
    assert (wanted.actions, wanted.restart_required) == (("take_over",), False)
    assert plan(busy, restart, TakenOver(False, "")).actions == ()


def test_a_process_that_cannot_take_its_files_over_is_restarted_as_the_policy_allows() -> None:
    refused = TakenOver(False, "[order_entry] port: changed, which needs a restart")
    assert plan(STALE, "idle", refused).actions == ("restart",)
    wanted = plan(replace(STALE, disturbed=1), "idle", refused)
    assert wanted.restart_required
    assert "[order_entry] port: changed" in wanted.reason


def test_a_changed_unit_file_is_loaded_even_when_no_restart_is_allowed() -> None:
    assert plan(replace(STALE, needs_reload=True), "never").actions == ("reload",)


BOOTED_S = 1795448000.0
STARTED_S = 1795448948.123456
PRINTED, MONOTONIC_US = "Mon 2026-11-23 15:49:08 UTC", "948123456"


@pytest.mark.parametrize("day", ["Mon", "Mo", "lun.", "月"])
def test_a_start_time_is_read_whatever_language_the_modules_locale_has(day: str) -> None:
    printed = f"{day} 2026-11-23 15:49:08 UTC"
    assert parse_started(printed, MONOTONIC_US, BOOTED_S) == pytest.approx(STARTED_S)


@pytest.mark.parametrize("printed", ["n/a", ""])
def test_a_unit_that_never_ran_has_no_start_time(printed: str) -> None:
    assert parse_started(printed, "0", BOOTED_S) == 0.0


@pytest.mark.parametrize(("set_s", "counts"), [(3600, 1795448948.0), (-3600, STARTED_S - 3600)])
def test_the_earlier_time_counts_where_the_clock_was_set_after_the_start(set_s: int, counts: float) -> None:
    assert parse_started(PRINTED, MONOTONIC_US, BOOTED_S + set_s) == pytest.approx(counts)


def test_a_file_moved_into_place_is_younger_than_a_process_started_before(tmp_path: Path) -> None:
    old = tmp_path / "prepared"
    old.write_text("x")
    os.utime(old, (1, 1))
    before_s = time.time() - 1
    old.rename(tmp_path / "engine.toml")
    assert changed_s(str(tmp_path / "engine.toml")) > before_s
    assert changed_s(str(tmp_path / "absent")) == 0.0


# A fake systemctl. It has the properties of one unit in files, and changes them as systemd would.
SYSTEMCTL = """#!/bin/sh
cd "${0%/*}/unit" || exit 1
[ ! -e "refuse-$1" ] || { echo "Job for $2 failed." >&2; exit 1; }
case "$1" in
  show) [ "$LC_ALL $TZ" = "C UTC" ] || exit 1; IFS=,
    for name in $3; do IFS= read -r value < "$name"; echo "$name=$value"; done; exit ;;
  daemon-reload) echo no > NeedDaemonReload ;;
  enable) echo enabled > UnitFileState ;;
  start | restart) echo active > ActiveState; echo "Thu 2099-12-31 23:59:59 UTC" > ExecMainStartTimestamp
    echo 99999999999999999 > ExecMainStartTimestampMonotonic ;;
esac
echo "$*" >> ../calls
"""
JOURNALCTL = """#!/bin/sh
[ "$*" = "-u trading-engine.service -n 5 -o cat" ] && printf 'reading /etc/engine.toml\\nno such symbol\\n'
"""
NEW = {
    "LoadState": "loaded",
    "UnitFileState": "disabled",
    "ActiveState": "inactive",
    "NeedDaemonReload": "no",
    "ExecMainStartTimestamp": "",
    "ExecMainStartTimestampMonotonic": "0",
    "FragmentPath": "",
    "DropInPaths": "",
}
# The unit was started long ago, before all its files were written.
RUNNING_LONG = {
    **NEW,
    "UnitFileState": "enabled",
    "ActiveState": "active",
    "ExecMainStartTimestamp": "Mon 2001-01-01 00:00:00 UTC",
}


class Systemd:
    """A fake systemd with one unit. PATH contains only its programs."""

    def __init__(self, folder: Path, run_module: RunModule) -> None:
        self.folder = folder
        self.run_module = run_module
        for name, text in {"systemctl": SYSTEMCTL, "journalctl": JOURNALCTL}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.source = self.put("engine.toml", "")

    def put(self, name: str, text: str) -> str:
        place = self.folder / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"{text}\n")
        return str(place)

    def has(self, properties: dict[str, str], **differing: str) -> None:
        for name, value in {**properties, **differing}.items():
            self.put(f"unit/{name}", value)

    def run(self, check: bool = False, **arguments: object) -> dict[str, Any]:
        given = {"name": "trading-engine.service", "sources": [self.source], **arguments}
        return self.run_module("fresh_unit", check, **given)

    def calls(self) -> list[str]:
        """Return the commands that systemctl has received, without the commands that only query."""
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> Systemd:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Systemd(tmp_path, run_module)


def test_a_new_unit_is_started_once_and_not_in_check_mode(systemd: Systemd) -> None:
    systemd.has(NEW, NeedDaemonReload="yes")
    foretold = systemd.run(check=True)
    assert systemd.calls() == []
    report = systemd.run()
    assert foretold["actions"] == report["actions"] == ["reload", "enable", "start"]
    done = ["daemon-reload", "enable trading-engine.service", "start trading-engine.service"]
    assert systemd.calls() == done
    assert systemd.run()["changed"] is False
    assert systemd.calls() == done


@pytest.mark.parametrize(
    ("busy_command", "restarted", "reason"),
    [
        (["/bin/echo", '{"sessions_open": 0}'], True, "changed after it started"),
        (["/bin/echo", '{"sessions_open": 2}'], False, "clients are connected (2)"),
        (["/bin/echo", "{}"], False, "is unknown"),
        (["/bin/echo", "[]"], False, "is unknown"),
        (["/bin/echo", "engine: not running"], False, "is unknown"),
        (["/bin/sh", "-c", """echo '{"sessions_open": 0}'; exit 1"""], False, "is unknown"),
        (["/nowhere/trading-engine", "status"], False, "is unknown"),
    ],
)
def test_a_stale_unit_is_restarted_only_while_nobody_is_connected(
    systemd: Systemd, busy_command: list[str], restarted: bool, reason: str
) -> None:
    systemd.has(RUNNING_LONG)
    report = systemd.run(restart="idle", busy_command=busy_command)
    assert (report["changed"], report["restart_required"]) == (restarted, not restarted)
    assert reason in report["reason"]
    assert systemd.calls() == (["restart trading-engine.service"] if restarted else [])


def test_the_units_own_files_make_it_stale_as_well(systemd: Systemd) -> None:
    fragment, one, other = (systemd.put(name, "[Service]") for name in ("engine.service", "one.conf", "other.conf"))
    systemd.has(RUNNING_LONG, FragmentPath=fragment, DropInPaths=f"{one} {other}")
    report = systemd.run(restart="never", sources=["/nowhere/engine.toml"])
    assert report["restart_required"] is True
    assert report["reason"].startswith(f"{fragment}, {one}, {other} changed after it started")


def test_a_unit_that_systemd_does_not_know_is_an_error_but_may_be_to_come_in_check_mode(systemd: Systemd) -> None:
    systemd.has(NEW, LoadState="not-found", UnitFileState="")
    assert systemd.run(check=True)["actions"] == ["enable", "start"]
    said = "trading-engine.service is not known to systemd; install its unit file first"
    assert systemd.run()["msg"] == said
    assert systemd.calls() == []


@pytest.mark.parametrize("check", [False, True])
def test_a_unit_that_somebody_has_masked_is_told_with_the_way_out(systemd: Systemd, check: bool) -> None:
    systemd.has(NEW, LoadState="masked", UnitFileState="masked")
    said = "trading-engine.service is masked, so nobody can start it; systemctl unmask trading-engine.service"
    assert systemd.run(check=check)["msg"] == said
    assert systemd.calls() == []


def test_a_unit_is_not_started_beside_those_that_it_would_be_in_the_way_of(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(f"{plan.__module__}.UNITS", tmp_path)
    systemd.has(NEW)
    (tmp_path / "engine@alpha.service").touch()
    said = "trading-engine.service is not started beside engine@alpha.service, which this host has: stop, disable"
    assert said in systemd.run(not_beside="engine@*.service")["msg"]
    assert systemd.calls() == []
    assert systemd.run(not_beside="feed@*.service")["changed"]


def test_a_unit_that_does_not_start_is_told_with_the_end_of_its_log(systemd: Systemd) -> None:
    systemd.has(NEW)
    systemd.put("unit/refuse-start", "")
    report = systemd.run()
    assert report["failed"] is True
    assert report["msg"] == (
        "systemctl start trading-engine.service failed: Job for trading-engine.service failed. "
        "Last in its log: reading /etc/engine.toml | no such symbol"
    )
