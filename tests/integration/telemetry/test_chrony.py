"""Telemetry reads the clock's offset from a real chronyd.

This chronyd runs without privileges. The option -x keeps it from setting the clock.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from trading_telemetry import clock as clocks
from trading_telemetry import cloudwatch
from trading_telemetry.clock import Clock, read_clock
from trading_telemetry.cloudwatch import Period, data_of
from trading_telemetry.host import sample_host
from trading_telemetry.latest import host_document
from trading_telemetry.observer import Observer
from trading_telemetry.prometheus import EngineCollector

UNPACKED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lowlatency.trading" / "chrony"
PATH = f"/usr/sbin:/usr/bin:{UNPACKED}/usr/sbin:{UNPACKED}/usr/bin"
LIMIT_S = 60.0
OFFSET_US = 50_000.0
HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Daemons:
    """Starts processes of chronyd without privileges, and ends them. Each process has its own files."""

    def __init__(self, folder: Path, program: str) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._folder = folder
        is_root = os.geteuid() == 0
        self._user = pwd.getpwnam("nobody") if is_root else pwd.getpwuid(os.geteuid())
        self._prefix = ["setpriv", f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        self._prefix = self._prefix if is_root else []
        folder.chmod(0o755)
        self._program = shutil.copy(program, folder / "chronyd")

    def start(self, name: str, *lines: str) -> None:
        own = self._folder / name
        own.mkdir(mode=0o750)
        os.chown(own, self._user.pw_uid, self._user.pw_gid)
        paths = {"bindcmdaddress": "command.sock", "pidfile": "pid", "driftfile": "drift"}
        file = self._folder / f"{name}.conf"
        settings = [*lines, f"bindcmdaddress {HOST}", *(f"{key} {own / path}" for key, path in paths.items())]
        file.write_text("\n".join(settings) + "\n")
        command = [self._program, "-x", "-U", "-u", self._user.pw_name, "-d", "-f", str(file)]
        self.running[name] = subprocess.Popen([*self._prefix, *command], stderr=subprocess.DEVNULL)

    def end(self, name: str) -> None:
        with self.running.pop(name) as process:
            process.terminate()


@dataclass(frozen=True)
class Time:
    """Two processes of chronyd: a time source, and `client`, which reads the time from it.

    A test can start and stop the source.
    """

    command_port: int
    start_source: Callable[[], None]
    end_source: Callable[[], None]

    def wait_until(self, expected: Callable[[Clock], bool]) -> Clock:
        """Read the clock as telemetry does, again and again, until `expected` returns true for what was read.

        Return this reading.
        """
        end_s, found = time.monotonic() + LIMIT_S, None
        while time.monotonic() < end_s:
            found = read_clock(HOST, self.command_port)
            if found is not None and found.source == "chrony" and expected(found):
                return found
            time.sleep(0.05)
        pytest.fail(f"chrony still says {found}")


@pytest.fixture
def chrony(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    chronyd = shutil.which("chronyd", path=PATH)
    if chronyd is None:
        pytest.skip("no chronyd; `tests/runner/install.sh time` unpacks it")
    monkeypatch.setattr(clocks, "_PATH", PATH)
    # chronyd runs as the user nobody, who cannot read the folders of pytest or of root.
    with tempfile.TemporaryDirectory(prefix="chrony-") as folder:
        daemons = Daemons(Path(folder), chronyd)
        port, command_port = free_port(), free_port()
        source = f"server {HOST} port {port} offset {OFFSET_US / 1e6} minpoll -2 maxpoll -2 iburst"
        lines = ("local stratum 1", f"allow {HOST}", f"port {port}", f"bindaddress {HOST}", f"cmdport {free_port()}")
        try:
            daemons.start("client", source, "port 0", f"cmdport {command_port}")
            yield Time(command_port, lambda: daemons.start("source", *lines), lambda: daemons.end("source"))
        finally:
            for name in list(daemons.running):
                daemons.end(name)


def published(clock: Clock | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float | bool | None]:
    """Return what telemetry publishes about this reading of the clock: in /latest, in /metrics and in CloudWatch."""
    sample = sample_host()
    shown = host_document(sample, sample, 1.0, clock)
    found = {name: value for name, value in shown.items() if name.startswith("clock_")}
    observer = Observer(tmp_path / "no-engine")
    for family in EngineCollector({"": observer}, None, lambda: clock).collect():
        if family.name.startswith("trading_host_clock_"):
            found[family.name] = family.samples[0].value
    monkeypatch.setattr(cloudwatch, "read_clock", lambda: clock)
    data = data_of([(Period(), observer.look())], tmp_path, 0.0, "i-1", 60)
    return found | {datum["MetricName"]: datum["Value"] for datum in data if datum["MetricName"] == "ClockOffset"}


def test_offset_and_bound_are_chronys_and_without_its_source_the_clock_is_not_synchronised(
    chrony: Time, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = chrony.wait_until(lambda clock: not clock.synchronised)
    assert published(alone, monkeypatch, tmp_path) == {
        "clock_synchronised": False,
        "clock_offset_us": None,
        "clock_error_bound_us": None,
        "trading_host_clock_synchronised": 0.0,
    }

    chrony.start_source()
    kept = chrony.wait_until(lambda clock: clock.synchronised)
    assert kept.offset_us is not None
    assert kept.bound_us is not None
    # With -x chronyd corrects nothing, so the clock keeps the whole offset from its source.
    assert kept.offset_us == pytest.approx(OFFSET_US, rel=0.5)
    assert kept.bound_us > kept.offset_us
    assert published(kept, monkeypatch, tmp_path) == {
        "clock_synchronised": True,
        "clock_offset_us": kept.offset_us,
        "clock_error_bound_us": kept.bound_us,
        "trading_host_clock_synchronised": 1.0,
        "trading_host_clock_offset_seconds": pytest.approx(kept.offset_us / 1e6),
        "trading_host_clock_error_bound_seconds": pytest.approx(kept.bound_us / 1e6),
        "ClockOffset": kept.offset_us,
    }

    # Without measurements the error bound grows.
    chrony.end_source()
    bound_us = kept.bound_us
    chrony.wait_until(lambda clock: clock.bound_us is None or clock.bound_us > bound_us)


def test_where_chrony_does_not_answer_the_kernel_is_asked(chrony: Time) -> None:
    found = read_clock(HOST, free_port())
    assert found is None or found.source == "kernel"
