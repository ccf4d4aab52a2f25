"""Telemetry's command reports wrong input in one line, and it can run as a service of systemd."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from trading_telemetry.__main__ import main

from tests.unit.telemetry.conftest import Publisher

COMMAND = [sys.executable, "-m", "trading_telemetry"]


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command's main function with these options."""

    def run_main(*options: str | Path) -> Result:
        returncode = main([str(option) for option in options])
        return Result(returncode, *capsys.readouterr())

    return run_main


def test_the_example_is_a_configuration_that_passes_the_check(run: Run, tmp_path: Path) -> None:
    example = tmp_path / "telemetry.toml"
    example.write_text(run("example-config").stdout)
    assert run("check-config", example).returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[http]\nprot = 1", "[http]: unknown key 'prot'; did you mean port?"),
        ("[http]\nport = 70000", "port must be a whole number from 1 to 65535, not 70000"),
        ("[http", "is not valid TOML"),
        ('[http]\naddress = "localhost"', "address must be a numeric address like 10.0.1.5"),
    ],
)
def test_a_wrong_configuration_is_one_line_with_file_and_key(run: Run, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "telemetry.toml"
    path.write_text(text)
    for options in (("check-config", path), ("--config", path)):
        result = run(*options)
        assert result.returncode == 2
        assert message in result.stderr
        assert str(path) in result.stderr
        assert result.stderr.count("\n") == 1


def test_the_check_refuses_an_address_of_another_machine(run: Run, config_file: Path) -> None:
    config_file.write_text(config_file.read_text().replace("127.0.0.1", "192.0.2.1"))
    result = run("check-config", config_file)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "[http] address: this machine cannot listen on 192.0.2.1: " in result.stderr


def test_a_credential_of_the_unit_need_not_be_there_for_the_check(run: Run, config_file: Path, tmp_path: Path) -> None:
    """The command check-config accepts a missing file only if it is a credential of a systemd unit.

    Such a file exists only while the unit runs. A file in any other place must exist.
    """
    text = config_file.read_text()
    config_file.write_text(f'{text}[access]\ntoken_file = "/run/credentials/no-such.service/telemetry.token"\n')
    assert run("check-config", config_file).returncode == 0
    assert "cannot read /run/credentials/no-such.service" in run("--config", config_file).stderr
    config_file.write_text(f'{text}[access]\ntoken_file = "{tmp_path}/no-such"\n')
    assert f"cannot read {tmp_path}/no-such" in run("check-config", config_file).stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("p99_us = 2000", "", "p99_us is missing"),
        ("p99_us = 2000", 'p99_us = "2 ms"', "p99_us must be a number greater than 0"),
        ("p99_us = 2000", "p99_us = 2000\np98_us = 1", "unknown key 'p98_us'; did you mean"),
    ],
)
def test_wrong_targets_are_named(run: Run, config_file: Path, slo_path: Path, old: str, new: str, message: str) -> None:
    slo_path.write_text(slo_path.read_text().replace(old, new))
    result = run("check-config", config_file)
    assert result.returncode == 2
    assert str(slo_path) in result.stderr
    assert message in result.stderr


def test_a_port_in_use_is_one_line(run: Run, config_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config_file.write_text(config_file.read_text().replace("[http]", f"[http]\nport = {port}"))
        result = run("--config", config_file)
    assert result.returncode == 2
    assert result.stderr.startswith(f"trading-telemetry: error: cannot listen on 127.0.0.1:{port}: Address already in")
    assert result.stderr.count("\n") == 1


def test_systemd_is_told_when_it_answers_and_that_it_lives(
    config_file: Path, engine: Publisher, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config_file.write_text(config_file.read_text().replace("[http]", f"[http]\nport = {port}"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000"}
        process = subprocess.Popen([*COMMAND, "--config", config_file], env=environment)
        told = {systemd.recv(100), systemd.recv(100)}
        engine.publish()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        health = json.loads(answer.read())
        connection.close()
        process.terminate()
        ended = process.wait(10)
    assert told == {b"READY=1", b"WATCHDOG=1"}
    others = {check["name"]: check["status"] for check in health["checks"]}
    del others["clock"]  # depends on this machine
    assert (answer.status, set(others.values())) == (200, {"ok"})
    assert ended in (0, -signal.SIGTERM)
