"""What the kernel says of the clock, under the programs that keep it."""

from __future__ import annotations

import pytest
from trading_telemetry.clock import Clock, Timex, judged

STA_PLL, STA_UNSYNC, STA_NANO = 0x0001, 0x0040, 0x2000
TIME_OK, TIME_ERROR = 0, 5


@pytest.mark.parametrize(
    ("kept_by", "status", "offset", "expected"),
    [
        ("systemd-timesyncd", STA_PLL | STA_NANO, -250_000, Clock(250.0, 700.0)),
        ("ntpd without nanoseconds", STA_PLL, -250, Clock(250.0, 700.0)),
        # chrony with rtcsync, sys_timex.c: set_sync_status() sets esterror and maxerror, no function sets the offset.
        ("chrony", STA_NANO, 0, Clock(40.0, 700.0)),
    ],
)
def test_a_clock_that_is_kept_has_an_offset_and_a_bound(
    kept_by: str, status: int, offset: int, expected: Clock
) -> None:
    assert judged(Timex(offset=offset, status=status, esterror=40, maxerror=700), TIME_OK) == expected, kept_by


def test_a_clock_that_nobody_keeps_has_none() -> None:
    timex = Timex(status=STA_UNSYNC, esterror=16_000_000, maxerror=16_000_000)
    assert judged(timex, TIME_ERROR) is None
