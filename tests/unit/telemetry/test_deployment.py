"""What role telemetry puts on a host: a configuration that the programs take, and units that may read the clock."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trading_telemetry.config import load_config

ROLE = Path(__file__).parents[3] / "roles/telemetry"
TEMPLATES = ROLE / "templates/etc"


def configuration(into: Path, **shared: Any) -> Path:
    """Render telemetry.toml as Ansible does, with the role's defaults and these shared variables."""
    rendered = into / "telemetry.toml"
    module = {"src": str(TEMPLATES / "trading/telemetry.toml.j2"), "dest": str(rendered)}
    subprocess.run(
        [
            Path(sys.executable).with_name("ansible"), "localhost", "--inventory=localhost,", "--connection=local",
            f"--extra-vars=@{ROLE / 'defaults/main.yml'}", f"--extra-vars={json.dumps(shared)}",
            "--module-name=ansible.builtin.template", f"--args={json.dumps(module)}",
        ],
        env={**os.environ, "ANSIBLE_HOME": str(into / "home"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return rendered


def test_a_host_that_publishes_is_told_the_region(tmp_path: Path) -> None:
    path = configuration(tmp_path, trading_publish=True, trading_region="eu-west-1")
    assert load_config(path).cloudwatch.region == "eu-west-1"


def test_a_host_that_does_not_publish_is_told_nothing_of_cloudwatch(tmp_path: Path) -> None:
    path = configuration(tmp_path, trading_publish="false", trading_region="eu-west-1")  # "false": as `-e` gives it
    assert "[cloudwatch]" not in path.read_text(encoding="utf-8")
    assert load_config(path).cloudwatch.region == ""


@pytest.mark.parametrize("unit", ["telemetry.service", "trading-publish.service"])
def test_the_clock_may_be_read_and_not_set(unit: str) -> None:
    lines = (TEMPLATES / f"systemd/system/{unit}.j2").read_text(encoding="utf-8").splitlines()
    filters = [line.partition("=")[2] for line in lines if line.startswith("SystemCallFilter=")]
    # The last filter wins, and adjtimex() of glibc 2.31 and newer is the system call clock_adjtime.
    assert filters[-1].split() == ["adjtimex", "clock_adjtime"]
    assert "ProtectClock=yes" not in lines
    assert "CapabilityBoundingSet=" in lines
