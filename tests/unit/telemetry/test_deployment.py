"""What role telemetry puts on a host: a configuration that the programs take, and units that may read the clock."""

from pathlib import Path
from typing import Any

import pytest
from trading_telemetry.config import load_config

from tests.unit.aws import templates


def configuration(into: Path, **shared: Any) -> Path:
    path = into / "telemetry.toml"
    path.write_text(templates.text("etc/trading/telemetry.toml.j2", "telemetry", **shared), encoding="utf-8")
    return path


def test_a_host_that_publishes_is_told_the_region(tmp_path: Path) -> None:
    path = configuration(tmp_path, trading_publish=True, trading_region="eu-west-1")
    assert load_config(path).cloudwatch.region == "eu-west-1"


def test_a_host_that_does_not_publish_is_told_nothing_of_cloudwatch(tmp_path: Path) -> None:
    path = configuration(tmp_path, trading_publish="false", trading_region="eu-west-1")  # "false": as `-e` gives it
    assert "[cloudwatch]" not in path.read_text(encoding="utf-8")
    assert load_config(path).cloudwatch.region == ""


@pytest.mark.parametrize("unit", ["telemetry.service", "trading-publish.service"])
def test_the_clock_may_be_read_and_not_set(unit: str) -> None:
    found = {"__telemetry_has_user_namespaces": True}
    rendered = templates.text(f"etc/systemd/system/{unit}.j2", "telemetry", **found)
    settings = [line.partition("=")[::2] for line in rendered.splitlines() if "=" in line]
    # Of a filter the last entry wins, of a flag as well; adjtimex() of glibc 2.31 and newer is clock_adjtime.
    last = dict(settings)
    assert last["SystemCallFilter"].split() == ["adjtimex", "clock_adjtime"]
    assert last["ProtectClock"] == "no"
    assert last["CapabilityBoundingSet"] == ""
