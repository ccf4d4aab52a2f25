"""The health of an engine and of its host. Every cause of a fault has its own check, status and reason."""

import dataclasses
import json
import time
from pathlib import Path

import pytest
from trading_backup.state import Status as Shipped
from trading_engine.settings.tables import ConfigError
from trading_telemetry import backup, health
from trading_telemetry.clock import Clock
from trading_telemetry.cloudwatch import Period, data_of
from trading_telemetry.config import Targets, load_targets
from trading_telemetry.health import Check, Status, check_all, overall
from trading_telemetry.host import Tuning
from trading_telemetry.observer import Observer
from trading_telemetry.prometheus import EngineCollector

from tests.unit.telemetry.conftest import Publisher


@pytest.fixture
def targets(slo_path: Path) -> Targets | None:
    return load_targets(slo_path)


def checks(state_path: Path, targets: Targets | None) -> dict[str, Check]:
    observer = Observer(state_path)
    observer.sample()
    return {check.name: check for check in check_all(observer.sample(), observer.window(60), targets, None)}


def test_all_is_well(engine: Publisher, state_path: Path, targets: Targets) -> None:
    found = checks(state_path, targets)
    assert list(found) == ["engine", "journal", "journal_space", "trading", "tuning", "clock", "slo"]
    assert overall(list(found.values())) is Status.OK


def test_without_an_engine_only_that_is_said(state_path: Path, targets: Targets) -> None:
    found = checks(state_path, targets)
    assert list(found) == ["engine"]
    assert found["engine"].status is Status.FAILING
    assert found["engine"].reason.startswith("engine down: ")


def test_a_living_but_silent_engine_is_stale(engine: Publisher, state_path: Path, targets: Targets) -> None:
    observer = Observer(state_path)
    observation = observer.look()
    late = dataclasses.replace(observation, observed_ns=observation.observed_ns + 3_000_000_000)
    check = check_all(late, None, targets, None)[0]
    assert check.status is Status.FAILING
    assert check.reason.startswith("stale: the engine lives, but last published 3.")


def test_a_failed_journal_is_failing_with_its_own_words(engine: Publisher, state_path: Path, targets: Targets) -> None:
    engine.writer.failure = "write: No space left on device"
    engine.publish()
    check = checks(state_path, targets)["journal"]
    assert check.status is Status.FAILING
    assert "No space left on device" in check.reason


@pytest.mark.parametrize(
    ("used", "status"), [(799, Status.OK), (800, Status.DEGRADED), (949, Status.DEGRADED), (950, Status.FAILING)]
)
def test_the_journals_space_degrades_and_then_fails(
    engine: Publisher, state_path: Path, targets: Targets, used: int, status: Status
) -> None:
    engine.gauge("journal_used_bytes", used)
    engine.gauge("journal_seconds_left", 77)
    engine.publish()
    check = checks(state_path, targets)["journal_space"]
    assert check.status is status
    assert "77 s left" in check.reason


@pytest.mark.parametrize(("gauge", "word"), [("kill_switches", "kill switch"), ("halted_symbols", "halted")])
def test_stopped_trading_is_told_apart(
    engine: Publisher, state_path: Path, targets: Targets, gauge: str, word: str
) -> None:
    engine.gauge(gauge, 1)
    engine.publish()
    check = checks(state_path, targets)["trading"]
    assert check.status is Status.DEGRADED
    assert word in check.reason


def slo_check(engine: Publisher, state_path: Path, targets: Targets | None, latency_us: float, count: int) -> Check:
    observer = Observer(state_path)
    observer.sample()
    engine.orders(count, latency_us)
    engine.publish()
    return check_all(observer.sample(), observer.window(60), targets, None)[-1]


def test_a_broken_promise_names_figure_and_target(engine: Publisher, state_path: Path, targets: Targets) -> None:
    check = slo_check(engine, state_path, targets, 1500, 1000)
    assert check.status is Status.DEGRADED
    assert "avg is 1500 µs, target 500 µs" in check.reason
    assert "p95 is 1499 µs, target 1000 µs" in check.reason
    assert "p99" not in check.reason


def test_a_kept_promise_and_too_few_orders_to_judge(engine: Publisher, state_path: Path, targets: Targets) -> None:
    assert slo_check(engine, state_path, targets, 5000, 99).reason.startswith("fewer than 100 orders")
    check = slo_check(engine, state_path, targets, 200, 100)
    assert check.status is Status.OK
    assert "target 2000 µs" in check.reason


def test_the_canary_is_judged_also_while_nobody_trades(engine: Publisher, state_path: Path, targets: Targets) -> None:
    engine.canary(99, 5000)
    assert slo_check(engine, state_path, targets, 5000, 0).status is Status.OK
    observer = Observer(state_path)
    observer.sample()
    engine.canary(100, 5000)
    engine.publish()
    check = check_all(observer.sample(), observer.window(60), targets, None)[-1]
    assert check.status is Status.DEGRADED
    assert "p99 is 5000 µs" in check.reason


def test_whichever_is_worse_is_judged_and_the_other_hides_nothing(
    engine: Publisher, state_path: Path, targets: Targets
) -> None:
    observer = Observer(state_path)
    observer.sample()
    engine.canary(100, 200)
    engine.publish()
    assert check_all(observer.sample(), observer.window(60), targets, None)[-1].status is Status.OK
    assert slo_check(engine, state_path, targets, 3000, 10_000).status is Status.DEGRADED


def test_a_canary_without_an_answer_is_said(engine: Publisher, state_path: Path, targets: Targets) -> None:
    engine.count("canary_failures", 1)
    observer = Observer(state_path)
    engine.publish()
    observer.sample()
    engine.count("canary_failures", 3)
    engine.publish()
    check = check_all(observer.sample(), observer.window(60), targets, None)[-1]
    assert (check.status, check.reason) == (Status.DEGRADED, "the canary had no answer, 3 times in the last minute")


def test_unknown_targets_are_said_to_be_unknown(engine: Publisher, state_path: Path, tmp_path: Path) -> None:
    assert load_targets(tmp_path / "none.toml") is None
    check = slo_check(engine, state_path, None, 9000, 1000)
    assert check.status is Status.OK
    assert "targets unknown" in check.reason


@pytest.mark.parametrize(
    ("tuning", "status"),
    [(None, Status.OK), (Tuning("ultra", False), Status.OK), (Tuning("ultra", True), Status.DEGRADED)],
)
def test_a_reboot_that_tuning_waits_for_is_said(
    engine: Publisher, state_path: Path, tuning: Tuning | None, status: Status
) -> None:
    observer = Observer(state_path)
    check = next(it for it in check_all(observer.sample(), None, None, tuning) if it.name == "tuning")
    assert check.status is status
    assert ("wait for a reboot" in check.reason) is (status is Status.DEGRADED)


@pytest.mark.parametrize(
    ("clock", "deviation_ns", "status", "words"),
    [
        (Clock("chrony", 12.0, 340.0), 0, Status.OK, "12 µs off, at most 340 µs (chrony)"),
        (Clock("chrony", 12.0, 340.0), 999_999, Status.OK, "12 µs off"),
        (Clock("chrony"), 0, Status.DEGRADED, "not synchronised: `chronyc sources`"),
        (Clock("kernel"), 0, Status.OK, "not synchronised: no time service runs here"),
        (None, 0, Status.OK, "unknown"),
        (Clock("chrony", 12.0, 340.0), 3_600_000_000_000, Status.DEGRADED, "3600.000 s ahead of the wall clock"),
        (None, -2_000_000, Status.DEGRADED, "0.002 s behind the wall clock"),
    ],
)
def test_the_clock_says_whether_it_is_kept_and_whether_it_was_stepped(
    engine: Publisher,
    state_path: Path,
    targets: Targets,
    clock: Clock | None,
    deviation_ns: int,
    status: Status,
    words: str,
) -> None:
    engine.gauge("clock_deviation_ns", deviation_ns)
    engine.publish()
    observation = Observer(state_path).sample()
    check = next(each for each in check_all(observation, None, targets, None, clock) if each.name == "clock")
    assert check.status is status
    assert words in check.reason
    assert ("restart of the engine" in check.reason) is (deviation_ns <= -1_000_000)  # only if set back


def test_the_target_of_the_feed_is_in_a_file_that_no_older_release_reads(slo_path: Path) -> None:
    assert "feed" not in slo_path.read_text()
    targets = load_targets(slo_path)
    assert targets is not None
    assert targets.feed_p99_us == 1000
    beside = slo_path.with_name("slo_feed.toml")
    beside.unlink()
    targets = load_targets(slo_path)
    assert targets is not None
    assert targets.feed_p99_us is None
    for text in ("p99_us = 0\n", "p99_us = 1000\np95_us = 1\n"):
        beside.write_text(text)
        with pytest.raises(ConfigError, match=r"slo_feed\.toml.*(p99_us|p95_us)"):
            load_targets(slo_path)


SHIPPED = {
    "looked_s": 1000.0, "rpo_seconds": 60, "backlog_bytes": 7, "oldest_unsent_seconds": 20.0, "lost_segments": 0,
    "lost_s": 0.0, "objects": 3, "error": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "now_s", "status", "said"),
    [
        ({}, 1005.0, Status.OK, "7 bytes of the journal wait for the bucket, the oldest for 25 s"),
        ({"oldest_unsent_seconds": 100.0}, 1000.0, Status.DEGRADED, "the oldest for 100 s, 60 s are promised"),
        ({"oldest_unsent_seconds": 0.0}, 1030.0, Status.OK, "the oldest for 0 s"),
        ({"oldest_unsent_seconds": 0.0}, 1100.0, Status.DEGRADED, "the oldest for 100 s, 60 s are promised"),
        ({"lost_segments": 2, "lost_s": 900.0}, 1000.0, Status.DEGRADED, "2 segments of the journal were deleted"),
        ({"lost_segments": 2, "lost_s": 900.0}, 9000.0, Status.DEGRADED, "the oldest for"),
        ({"error": "it is away"}, 1000.0, Status.DEGRADED, "the shipper has failed for 20 s, and 7 bytes"),
        ({"looked_s": "never"}, 1000.0, Status.DEGRADED, "nothing ships the journal"),
        (None, 1000.0, Status.DEGRADED, "nothing ships the journal"),
    ],
)
def test_the_backup_is_late_lost_or_in_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, object] | None,
    now_s: float,
    status: Status,
    said: str,
) -> None:
    assert list(health._backup(backup.read_backup())) == []
    monkeypatch.setattr(backup, "CONFIGURED", tmp_path)
    monkeypatch.setattr(backup, "STATUS", tmp_path / "status.json")
    monkeypatch.setattr(time, "time", lambda: now_s)
    if changed is not None:
        (tmp_path / "status.json").write_text(json.dumps({**SHIPPED, **changed}))
    (check,) = health._backup(backup.read_backup())
    assert (check.name, check.status) == ("backup", status)
    assert said in check.reason


def test_what_the_shipper_writes_is_what_telemetry_reads() -> None:
    assert SHIPPED.keys() == {field.name for field in dataclasses.fields(Shipped)}


def test_metrics_tell_of_the_backup(
    engine: Publisher, state_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status.json"
    monkeypatch.setattr(backup, "CONFIGURED", tmp_path)
    monkeypatch.setattr(backup, "STATUS", status)
    status.write_text(json.dumps({**SHIPPED, "looked_s": time.time(), "lost_segments": 2}))
    families = {family.name: family for family in EngineCollector({"": Observer(state_path)}, None).collect()}
    assert families["trading_backup_backlog_bytes"].samples[0].value == 7
    assert families["trading_backup_lost_segments"].samples[0].value == 2
    assert 20 <= sent(state_path, tmp_path)["BackupAge"] < 60
    status.unlink()
    assert "BackupAge" not in sent(state_path, tmp_path)


def sent(state_path: Path, disk: Path) -> dict[str, float]:
    """Return the values that telemetry sends to CloudWatch, by metric."""
    data = data_of([(Period(), Observer(state_path).look())], disk, 0.0, "i-1", 60)
    return {datum["MetricName"]: datum["Value"] for datum in data if "Value" in datum}
