"""At boot, the engine waits for the clock, but at most half a minute.

systemd's own check finds no fault in the units.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.roles import templates

UNITS = templates.ROOT / "roles/trading_engine/files/etc/systemd/system"
ENGINE = UNITS / "trading-engine.service.d/time.conf"
# The unit of Debian's chrony 4.3. Its restrictions of rights are left out.
CHRONY_WAIT = """[Unit]
Before=time-sync.target
Wants=time-sync.target
[Service]
Type=oneshot
ExecStart=/bin/true
TimeoutStartSec=180
RemainAfterExit=yes
"""


def settings(file: Path) -> dict[str, str]:
    pairs = [line.partition("=") for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {name: value for name, sign, value in pairs if sign}


def test_the_engine_waits_for_chrony_and_starts_without_it() -> None:
    found = settings(ENGINE)
    assert found["After"] == "time-sync.target"
    assert found["Wants"] == "chrony-wait.service"
    assert "Requires" not in found  # it must also start without a synchronized clock
    assert settings(UNITS / "chrony-wait.service.d/trading.conf") == {"TimeoutStartSec": "30"}


@pytest.mark.parametrize(("exit_code", "says"), [(0, False), (1, True), (127, True)])
def test_the_engines_journal_says_when_the_clock_is_not_synchronised(
    tmp_path: Path, exit_code: int, says: bool
) -> None:
    chronyc = tmp_path / "chronyc"
    chronyc.write_text(f"#!/bin/sh\necho try: 1, refid: 00000000, correction: 0.0, skew: 0.0\nexit {exit_code}\n")
    chronyc.chmod(0o755)
    command = settings(ENGINE)["ExecStartPre"].removeprefix("-/bin/sh -c ").strip("'")
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("The clock is not synchronised") is says
    assert says or done.stdout == ""


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    unit = templates.text("etc/systemd/system/trading-engine.service.j2", "trading_engine", __trading_engine_links=[])
    lines = [line for line in unit.splitlines() if not line.startswith(("ExecStart=", "User=", "Alias="))]
    (tmp_path / "trading-engine.service").write_text(
        "\n".join(lines).replace("[Service]", "[Service]\nExecStart=/bin/true", 1) + "\n", encoding="utf-8"
    )
    (tmp_path / "chrony-wait.service").write_text(CHRONY_WAIT, encoding="utf-8")
    for folder in ("trading-engine.service.d", "chrony-wait.service.d"):
        shutil.copytree(UNITS / folder, tmp_path / folder)
    names = [str(tmp_path / f"{name}.service") for name in ("trading-engine", "chrony-wait")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, check=False, timeout=60
    )
    ours = [line for line in done.stderr.splitlines() if "trading-engine" in line or "chrony-wait" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr
