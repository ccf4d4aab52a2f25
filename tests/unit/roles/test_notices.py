"""When the alarms send notices.

They send no notice while a host is being set up. If the host then sends no metrics, they send a notice after some
minutes. Later, when a host has been healthy before, they send notices at once. CloudWatch evaluates alarms in an
unknown order, so each test runs with two orders.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.alarm_evaluation import Notice, Watch

from .templates import GROUPS, HOSTS, ROOT, render

LONG = 30 * 60  # minutes: longer than any alarm looks back, which is a day and two hours
IDLE = {"CPUUtilization": 20.0}
BUSY = {"CPUUtilization": 100.0}  # while a host is set up
WELL = {
    **IDLE,
    "EngineUp": 1.0,
    "ClockOffset": 20.0,
    "MemoryUsed": 30.0,
    "DiskUsed": 10.0,
    "Rejects": 0.0,
    "BackupAge": 20.0,
}
DOWN = {**WELL, "EngineUp": 0.0}
HEALTHY = {"HealthyHostCount": 1.0}
NO_CLOCK = {name: value for name, value in WELL.items() if name != "ClockOffset"}


@pytest.fixture(params=[False, True], ids=["as listed", "backwards"])
def watch(request: pytest.FixtureRequest) -> Watch:
    alarms: list[dict[str, Any]] = render("alarms.yml.j2", aws_monitoring_hosts=HOSTS[:1])
    return Watch(alarms[::-1] if request.param else alarms)


def live(watch: Watch, minutes: int, data: dict[str, float]) -> list[Notice]:
    """Let `minutes` minutes pass, each with these data. Return the notices that the alarms sent in this time."""
    before = len(watch.notices)
    for _ in range(minutes):
        watch.pass_minute(data)
    return watch.notices[before:]


def told(notices: list[Notice]) -> list[tuple[str, str]]:
    return [(notice.alarm, notice.state) for notice in notices]


@pytest.mark.parametrize("set_up_minutes", [0, 1, 7, 12])
def test_setting_up_a_host_tells_nobody(watch: Watch, set_up_minutes: int) -> None:
    assert [notice for notice in watch.notices if notice.state == "ALARM"] == []
    assert live(watch, set_up_minutes, BUSY) == []
    assert live(watch, LONG, WELL) == []


def test_a_host_that_never_publishes_is_told_once_after_a_quarter_of_an_hour(watch: Watch) -> None:
    assert live(watch, 14, {}) == []
    assert live(watch, LONG, {}) == [Notice(15, "silent", "ALARM")]
    assert live(watch, LONG, WELL) == []


@pytest.mark.parametrize("broken", [{}, DOWN, NO_CLOCK, {**WELL, "ClockOffset": 2000.0}])
def test_what_breaks_after_the_first_data_is_told_within_minutes_and_once(
    watch: Watch, broken: dict[str, float]
) -> None:
    live(watch, 7, {})
    live(watch, 3, WELL)
    said = live(watch, 10, broken)
    assert told(said) == [("promise", "ALARM")]
    assert live(watch, LONG, broken) == []  # a day without data is no recovery
    assert told(live(watch, 10, WELL)) == [("promise", "OK")]


def test_an_engine_that_was_never_up_is_told_once_its_host_publishes(watch: Watch) -> None:
    live(watch, 5, {})
    assert told(live(watch, 4, DOWN)) == [("promise", "ALARM")]


def test_a_host_in_another_ones_place_is_waited_for_as_a_new_one() -> None:
    names = [
        {alarm["AlarmName"] for alarm in render("alarms.yml.j2", aws_monitoring_hosts=[{**HOSTS[0], "instance_id": i}])}
        for i in ("i-1", "i-2")
    ]
    assert names[0] ^ names[1] == {f"trading-demo/trading-demo-1/heard-{i}" for i in ("i-1", "i-2")}


def test_where_hosts_publish_nothing_only_ec2s_own_metrics_are_told() -> None:
    watch = Watch(render("alarms.yml.j2", aws_monitoring_hosts=HOSTS[:1], aws_monitoring_publish=False))
    assert [notice for notice in live(watch, LONG, {}) if notice.state == "ALARM"] == []
    assert told(live(watch, 15, BUSY)) == [("promise", "ALARM")]


@pytest.mark.parametrize("lost", [{"HealthyHostCount": 0.0}, {}], ids=["unhealthy", "terminated"])
def test_a_partition_without_a_healthy_host_is_told_once_and_again_when_it_has_one(lost: dict[str, float]) -> None:
    watch = Watch(render("group_alarms.yml.j2", aws_monitoring_groups=GROUPS[:1]))
    live(watch, 5, HEALTHY)
    watch.notices.clear()
    assert live(watch, 1, lost) == []
    assert told(live(watch, 3, lost)) == [("healthy-host", "ALARM")]
    assert live(watch, LONG, lost) == []
    assert told(live(watch, 5, HEALTHY)) == [("healthy-host", "OK")]


def test_a_new_partition_is_told_until_its_host_is_healthy() -> None:
    watch = Watch(render("group_alarms.yml.j2", aws_monitoring_groups=GROUPS[:1]))
    assert told(live(watch, LONG, {})) == [("healthy-host", "ALARM")]
    assert told(live(watch, LONG, HEALTHY)) == [("healthy-host", "OK")]


def test_alarms_are_taken_back_before_what_they_watch() -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks/destroy.yml").read_text(encoding="utf-8"))
    roles = [task["ansible.builtin.import_role"]["name"].rpartition(".")[2] for task in play["tasks"]]
    assert roles.index("aws_monitoring") < roles.index("aws_instance")
