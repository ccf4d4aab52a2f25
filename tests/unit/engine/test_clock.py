"""The engine's time. The test sets the wall clock and the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from trading_engine.engine import Engine
from trading_engine.host.clock import SESSIONS_A_DATE, Clock, SessionsUsedUpError
from trading_engine.process.server import Server
from trading_engine.wire import soupbintcp

HOUR_NS = 3_600_000_000_000


def wall_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Replace the wall clock and the monotonic clock.

    Return both times in ns. A test can change them.
    """
    clocks = {"wall": wall_ns("2026-01-05T10:00:00+00:00"), "monotonic": 5_000}
    monkeypatch.setattr(time, "time_ns", lambda: clocks["wall"])
    monkeypatch.setattr(time, "monotonic_ns", lambda: clocks["monotonic"])
    return clocks


def test_time_counts_from_midnight_of_the_day_in_its_zone(wall: dict[str, int]) -> None:
    clock = Clock(UTC)
    clock.anchor("2026010500")
    assert clock.now() == 10 * HOUR_NS
    clock = Clock(ZoneInfo("America/New_York"))
    clock.anchor("2026010500")
    assert clock.now() == 5 * HOUR_NS


@pytest.mark.parametrize("jump_ns", [HOUR_NS, -2 * HOUR_NS, 2_000_000, -2_000_000])
def test_a_step_of_the_wall_clock_changes_no_times_and_is_noticed_once(wall: dict[str, int], jump_ns: int) -> None:
    clock = Clock(UTC)
    clock.anchor("2026010500")
    assert clock.deviation_ns() == 0
    wall["wall"] += jump_ns + 1_000
    wall["monotonic"] += 1_000
    assert clock.at(6_000) == 10 * HOUR_NS + 1_000
    assert clock.deviation_ns() == -jump_ns
    assert clock.noticed_step(-jump_ns) == jump_ns
    assert clock.noticed_step(clock.deviation_ns()) == 0


def test_a_second_step_is_noticed_by_itself_and_the_next_session_has_none(wall: dict[str, int]) -> None:
    clock = Clock(UTC)
    clock.anchor("2026010500")
    for step_ns in (HOUR_NS, -HOUR_NS // 2):
        wall["wall"] += step_ns
        assert clock.noticed_step(clock.deviation_ns()) == step_ns
    assert clock.deviation_ns() == -HOUR_NS // 2
    clock.anchor("2026010501")
    assert clock.now() == 10 * HOUR_NS + HOUR_NS // 2
    assert clock.noticed_step(clock.deviation_ns()) == 0


@pytest.mark.parametrize(("step_ns", "left_ns"), [(-HOUR_NS, 0), (HOUR_NS, 0), (-24 * HOUR_NS, 24 * HOUR_NS)])
def test_the_next_session_of_the_date_is_right_unless_its_date_is_to_come(
    wall: dict[str, int], start: Callable[[], Engine], step_ns: int, left_ns: int
) -> None:
    engine = start()
    clock = engine.clock
    wall["wall"] += step_ns
    assert clock.deviation_ns() == -step_ns
    engine.start_day(clock.next_session(engine.core.day))
    assert engine.core.day == "2026010501"
    assert clock.deviation_ns() == left_ns
    assert clock.noticed_step(clock.deviation_ns()) == -left_ns


def test_who_is_interrupted_between_the_clocks_takes_no_step_from_it(
    wall: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> int:
        monkeypatch.setattr(time, "time_ns", lambda: wall["wall"])
        wall_ns = wall["wall"]
        for value in wall:
            wall[value] += 5_000_000
        return wall_ns

    clock = Clock(UTC)
    monkeypatch.setattr(time, "time_ns", interrupted)
    clock.anchor("2026010500")
    assert clock.deviation_ns() == 0


def test_a_restart_after_a_step_back_says_how_far_its_times_are_ahead(wall: dict[str, int]) -> None:
    clock = Clock(UTC)
    clock.anchor("2026010500", 11 * HOUR_NS)
    assert clock.noticed_step(clock.deviation_ns()) == -HOUR_NS


def test_less_than_a_millisecond_is_no_step(wall: dict[str, int]) -> None:
    clock = Clock(UTC)
    clock.anchor("2026010500")
    wall["wall"] += 999_999
    assert clock.noticed_step(clock.deviation_ns()) == 0


class Notes(list[str]):
    """Fake statistics for the engine's server. They record events and published values."""

    published: dict[str, int]

    def event(self, text: str) -> None:
        self.append(text)

    def set(self, name: str, value: int) -> None:
        self.published = {name: value}


def test_the_server_notes_and_publishes_a_step(wall: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    clock, notes = Clock(UTC), Notes()
    clock.anchor("2026010500")
    engine = SimpleNamespace(clock=clock, core=SimpleNamespace(day="2026010500"))
    server = cast(Server, SimpleNamespace(_engine=engine, _stats=notes))
    for step_ns, count in ((0, 0), (HOUR_NS, 1), (0, 1)):
        wall["wall"] += step_ns
        Server._watch_clock(server)
        assert len(notes) == count
    assert notes.published == {"clock_deviation_ns": -HOUR_NS}
    expected = "the wall clock was stepped by +3600.000 s: times of session 2026010500 are 3600.000 s behind it"
    assert notes[0].startswith(expected)
    assert expected in capsys.readouterr().err


def test_a_wall_clock_that_went_back_over_midnight_ends_no_session_and_gives_no_name_twice(
    wall: dict[str, int],
) -> None:
    clock = Clock(UTC)
    wall["wall"] -= 24 * HOUR_NS
    assert clock.today() == "20260104"
    assert not clock.is_over("2026010500")
    assert clock.next_session("2026010500") == "2026010501"
    wall["wall"] += 48 * HOUR_NS
    assert clock.is_over("2026010500")
    assert clock.next_session("2026010500") == "2026010600"


def test_time_after_a_restart_is_never_before_the_last_journaled(wall: dict[str, int]) -> None:
    clock = Clock(UTC)
    clock.anchor("2026010500", 11 * HOUR_NS)
    assert clock.now() == 11 * HOUR_NS
    wall["monotonic"] += 2 * HOUR_NS
    assert clock.now() == 13 * HOUR_NS  # it advances even before the wall clock reaches it


def test_time_runs_on_though_the_date_went_back(wall: dict[str, int]) -> None:
    clock = Clock(UTC)
    clock.anchor("2026010600", 3 * HOUR_NS)
    wall["monotonic"] += HOUR_NS
    assert clock.now() == 4 * HOUR_NS


def test_a_day_that_is_not_ended_goes_beyond_24_hours(wall: dict[str, int]) -> None:
    clock = Clock(UTC)
    clock.anchor("2026010300")
    assert clock.now() == (48 + 10) * HOUR_NS


def test_sessions_of_one_date_are_numbered() -> None:
    clock = Clock(UTC)
    date = clock.today()
    assert clock.next_session("") == date + "00"
    assert clock.next_session("2020010107") == date + "00"
    assert clock.next_session(date + "00") == date + "01"


def test_a_date_that_is_not_later_is_not_taken(wall: dict[str, int]) -> None:
    assert Clock(UTC).next_session("2026010603") == "2026010604"


def test_all_names_of_a_date_have_ten_characters_and_sort_by_age(wall: dict[str, int]) -> None:
    clock = Clock(UTC)
    names = [clock.next_session("")]
    while len(names) < SESSIONS_A_DATE:
        names.append(clock.next_session(names[-1]))
    assert names == sorted(set(names))
    assert {len(name) for name in names} == {soupbintcp.SESSION_BYTES}
    assert (names[9], names[10], names[-1]) == ("2026010509", "202601050A", "20260105ZZ")
    with pytest.raises(SessionsUsedUpError, match="20260105ZZ"):
        clock.next_session(names[-1])


def test_names_of_older_builds_are_followed_by_greater_ones(wall: dict[str, int]) -> None:
    clock = Clock(UTC)
    assert clock.next_session("2026010599") == "202601059A"
    assert clock.next_session("20260105100") > "20260105100"
