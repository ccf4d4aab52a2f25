"""Secrets reach the host, and appear nowhere else: not in output, process lists, logs or diagnoses."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.e2e.deployment import Deployment, Play

TOKEN = "planted-token-5r7c1u9x"
PASSWORD = "pl4nt3d-x1"
SECRETS = "/etc/trading/secrets"
LOOK_S = 0.05


@dataclass
class Watch:
    """Looks for the given secrets in the arguments and environments of all processes.

    These include the processes of the sandbox's machines.
    """

    planted: dict[str, str]
    seen: set[str] = field(default_factory=set)
    looks: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    text = (process / name).read_bytes().decode("utf-8", "replace")
                    self.seen |= {f"{what} in {name} of {text[:200]!r}" for what in self.found(text)}
        self.looks += 1

    def found(self, text: str) -> set[str]:
        return {what for what, secret in self.planted.items() if secret in text}

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        thread = threading.Thread(target=self._keep_looking)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _keep_looking(self) -> None:
        while not self._over.wait(LOOK_S):
            self.look()


@dataclass
class Given:
    """The result of a run of site.yml with secrets of all kinds.

    It also has what the tests need to search for these secrets. `wanted` has the expected content of each file with
    secrets on the host.
    """

    play: Play
    watch: Watch
    certificate: Path
    wanted: dict[str, str]


def certificate(folder: Path, address: str) -> str:
    """Make a certificate for the address, and return the certificate and its key as one text.

    The file server.crt contains the certificate without the key.
    """
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=host"
    command += f" -addext subjectAltName=IP:{address} -keyout {folder}/server.key -out {folder}/server.crt"
    subprocess.run(command.split(), check=True, capture_output=True)
    return (folder / "server.crt").read_text() + (folder / "server.key").read_text()


@pytest.fixture(scope="module")
def given(deployed: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    folder = tmp_path_factory.mktemp("secrets")
    address = deployed.host()["ansible_host"]
    pem = certificate(folder, address)
    secrets = {
        "telemetry_token": TOKEN,
        "trading_engine_passwords": {"BENCH": PASSWORD},
        "trading_telemetry_certificate": pem,
    }
    (folder / "secrets.json").touch(0o600)
    (folder / "secrets.json").write_text(json.dumps(secrets), encoding="utf-8")
    key_line = (folder / "server.key").read_text().splitlines()[1]
    watch = Watch({"token": TOKEN, "password": PASSWORD, "key": key_line})
    options = ("-vvv", "--diff", "-e", f"@{folder}/secrets.json")
    try:
        with watch.on():
            play = deployed.play("site.yml", *options, slo_verify="always", slo_enforce="report", slo_duration_s=2)
        kept = {"telemetry.token": TOKEN, "BENCH.password": PASSWORD, "telemetry.pem": pem.strip()}
        yield Given(play, watch, folder / "server.crt", kept)
    finally:
        # Later tests use HTTP without TLS. The token and the password remain on the host.
        back = deployed.play("playbooks/configure.yml", "--tags", "telemetry_configuration,telemetry_unit")
        assert back.exit_code == 0, back.output[-6000:]


def test_a_watch_sees_what_is_there() -> None:
    watch = Watch({"planted": "a-word-of-the-test"})
    with subprocess.Popen(["sleep", "60"], env={"PLANTED": "a-word-of-the-test"}) as process:
        end_s = time.monotonic() + 10
        while not watch.seen and time.monotonic() < end_s:
            watch.look()
        process.kill()
    assert watch.seen == {"planted in environ of 'PLANTED=a-word-of-the-test\\x00'"}


def test_what_is_given_is_what_the_host_has_and_goes_by(deployed: Deployment, given: Given) -> None:
    assert given.play.exit_code == 0, given.play.output[-6000:]
    address = deployed.host()["ansible_host"]
    for name, wanted in given.wanted.items():
        assert deployed.ssh(address, "sudo", "cat", f"{SECRETS}/{name}").stdout.strip() == wanted
    with httpx.Client(verify=ssl.create_default_context(cafile=str(given.certificate)), timeout=5) as client:
        url = f"https://{address}:8000/latest"
        assert client.get(url).status_code == 401
        assert client.get(url, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    (report,) = deployed.reports.glob("*.json")
    rows = {row["name"]: row["verdict"] for row in json.loads(report.read_text(encoding="utf-8"))["verdict"]}
    assert rows["health"] == "met"


def test_nothing_of_it_is_in_the_output_of_the_run_or_in_a_list_of_processes(given: Given) -> None:
    assert "+++ after" in given.play.output
    assert given.watch.found(given.play.output) == set()
    assert given.watch.looks > 100
    assert given.watch.seen == set()


def test_nothing_of_it_is_in_logs_reports_or_a_diagnosis(deployed: Deployment, given: Given, tmp_path: Path) -> None:
    address = deployed.host()["ansible_host"]
    journal = deployed.ssh(address, "sudo", "journalctl", "--no-pager", "--boot")
    assert "trading-engine" in journal.stdout
    assert given.watch.found(journal.stdout) == set()
    play = deployed.play("playbooks/diagnose.yml", "-vvv", trading_engine_diagnosis_dir=str(tmp_path / "diagnosis"))
    assert play.exit_code == 0, play.output[-6000:]
    bundle = sorted((tmp_path / "diagnosis").iterdir())
    assert [path.suffix for path in bundle] == [".json", ".txt", ".txt"]
    assert {path.stat().st_mode & 0o777 for path in bundle} == {0o600}
    assert given.watch.found(play.output) == set()
    reports = [path for path in deployed.reports.rglob("*") if path.is_file()]
    assert reports
    for path in (*bundle, *reports):
        assert given.watch.found(path.read_text(encoding="utf-8")) == set()


def test_a_backup_that_has_them_is_its_owner_s_alone(deployed: Deployment, given: Given, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    play = deployed.play("playbooks/backup.yml", "-vvv", trading_backup_dir=str(backups))
    assert play.exit_code == 0, play.output[-6000:]
    assert given.watch.found(play.output) == set()
    assert backups.stat().st_mode & 0o777 == 0o700
    (archive,) = backups.iterdir()
    assert archive.stat().st_mode & 0o777 == 0o600
    listed = subprocess.run(["tar", "--list", "--file", archive], check=True, capture_output=True, text=True).stdout
    assert {f"etc/trading/secrets/{name}" for name in given.wanted} <= set(listed.splitlines())
