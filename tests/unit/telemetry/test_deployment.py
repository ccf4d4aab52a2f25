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


def render(template: str, to: Path, **shared: Any) -> Path:
    """Render one of the role's templates as Ansible does, with the role's defaults and these shared variables."""
    module = {"src": str(TEMPLATES / template), "dest": str(to)}
    shared["role_path"] = str(ROLE)
    subprocess.run(
        [
            Path(sys.executable).with_name("ansible"), "localhost", "--inventory=localhost,", "--connection=local",
            f"--extra-vars=@{ROLE / 'defaults/main.yml'}", f"--extra-vars={json.dumps(shared)}",
            f"--playbook-dir={ROLE}",
            "--module-name=ansible.builtin.template", f"--args={json.dumps(module)}",
        ],
        env={**os.environ, "ANSIBLE_HOME": str(to.parent / "home"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return to


def configuration(into: Path, **shared: Any) -> Path:
    return render("trading/telemetry.toml.j2", into / "telemetry.toml", **shared)


def test_a_host_that_publishes_is_told_the_region(tmp_path: Path) -> None:
    path = configuration(tmp_path, trading_publish=True, trading_region="eu-west-1")
    assert load_config(path).cloudwatch.region == "eu-west-1"


def test_a_host_that_does_not_publish_is_told_nothing_of_cloudwatch(tmp_path: Path) -> None:
    path = configuration(tmp_path, trading_publish="false", trading_region="eu-west-1")  # "false": as `-e` gives it
    assert "[cloudwatch]" not in path.read_text(encoding="utf-8")
    assert load_config(path).cloudwatch.region == ""


@pytest.mark.parametrize("unit", ["telemetry.service", "trading-publish.service"])
def test_the_clock_may_be_read_and_not_set(tmp_path: Path, unit: str) -> None:
    rendered = render(f"systemd/system/{unit}.j2", tmp_path / unit)
    settings = [line.partition("=")[::2] for line in rendered.read_text(encoding="utf-8").splitlines() if "=" in line]
    # Of a filter the last entry wins, of a flag as well; adjtimex() of glibc 2.31 and newer is clock_adjtime.
    last = dict(settings)
    assert last["SystemCallFilter"].split() == ["adjtimex", "clock_adjtime"]
    assert last["ProtectClock"] == "no"
    assert last["CapabilityBoundingSet"] == ""
