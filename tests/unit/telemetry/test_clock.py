"""Telemetry reads what chrony and the kernel report about the clock. The tests run no time service."""

from __future__ import annotations

import pytest
from trading_telemetry.clock import Clock, Timex, judged, tracked

STA_PLL, STA_UNSYNC, STA_NANO = 0x0001, 0x0040, 0x2000
TIME_OK, TIME_ERROR = 0, 5
# A line of chronyc 4.3. It contains three figures: the remaining correction (-0.000250000 s), the root delay and the
# root dispersion.
TRACKED = "A9FEA97B,169.254.169.123,4,1701290000,-0.000250000,0.000001,0.000002,1.274,-0.005,0.161,0.0004,0.00003,16.0"


@pytest.mark.parametrize(
    ("kept_by", "status", "offset", "expected"),
    [
        ("systemd-timesyncd", STA_PLL | STA_NANO, -250_000, Clock("kernel", 250.0, 700.0)),
        ("ntpd without nanoseconds", STA_PLL, -250, Clock("kernel", 250.0, 700.0)),
        # With rtcsync, chrony sets esterror and maxerror in the kernel, but not the offset: set_sync_status() in
        # sys_timex.c.
        ("chrony that may not be asked", STA_NANO, 0, Clock("kernel", 40.0, 700.0)),
    ],
)
def test_a_clock_that_is_kept_has_an_offset_and_a_bound(
    kept_by: str, status: int, offset: int, expected: Clock
) -> None:
    assert judged(Timex(offset=offset, status=status, esterror=40, maxerror=700), TIME_OK) == expected, kept_by


def test_a_clock_that_nobody_keeps_is_not_synchronised() -> None:
    timex = Timex(status=STA_UNSYNC, esterror=16_000_000, maxerror=16_000_000)
    assert not judged(timex, TIME_ERROR).synchronised


@pytest.mark.parametrize("leap", ["Normal", "Insert second", "Delete second"])
def test_under_chrony_the_bound_holds_what_is_left_to_correct(leap: str) -> None:
    clock = tracked(f"{TRACKED},{leap}\n")
    assert clock is not None
    assert (clock.source, clock.offset_us) == ("chrony", 250.0)
    assert clock.bound_us == pytest.approx(250.0 + 30.0 + 200.0)


def test_chrony_without_a_source_is_not_synchronised() -> None:
    clock = tracked(f"{TRACKED},Not synchronised\n")
    assert clock == Clock("chrony")
    assert not clock.synchronised


@pytest.mark.parametrize("line", ["", "506 Cannot talk to daemon", f"{TRACKED},Normal,more", ",".join(["x"] * 14)])
def test_what_is_no_answer_of_chronys_says_nothing(line: str) -> None:
    assert tracked(line) is None
