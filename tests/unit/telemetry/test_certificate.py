"""Telemetry reads the time at which a certificate expires, and finds the same time as openssl.

When a certificate or key cannot be used, the error message names it.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from trading_engine.settings.tables import ConfigError
from trading_telemetry.__main__ import main
from trading_telemetry.certificate import Certificates, check_file, check_pair, ends_s
from trading_telemetry.health import Check, check_all
from trading_telemetry.observer import Observer
from trading_telemetry.prometheus import EngineCollector

from tests.unit.telemetry.conftest import Publisher

Made = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Made:
    """Return a function that makes a file with a certificate and its key. The function returns the file's path."""

    def make(name: str = "server", *options: str, days: int = 90) -> Path:
        key, certificate, both = (tmp_path / f"{name}.{suffix}" for suffix in ("key", "crt", "pem"))
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=host"
        command += f" -days {days}"
        subprocess.run(
            [*command.split(), *options, "-keyout", key, "-out", certificate], check=True, capture_output=True
        )
        both.touch(0o600)
        both.write_text(certificate.read_text() + key.read_text())
        return both

    return make


@pytest.fixture
def expired(tmp_path: Path, make: Made) -> Path:
    """Make a file with an expired certificate and its key, and return its path.

    `openssl req` cannot make a certificate with dates in the past, so `openssl ca` signs it.
    """
    both = make("expired")
    key, request, certificate = tmp_path / "expired.key", tmp_path / "expired.csr", tmp_path / "expired.crt"
    database, settings = tmp_path / "index.txt", tmp_path / "ca.cnf"
    database.touch()
    settings.write_text(
        f"[ca]\ndefault_ca=c\n[c]\ndatabase={database}\nnew_certs_dir={tmp_path}\nrand_serial=yes\ndefault_md=sha256\n"
        "policy=p\n[p]\ncommonName=supplied\n"
    )
    sign = f"openssl ca -batch -config {settings} -selfsign -keyfile {key} -in {request} -out {certificate} -notext"
    for command in (
        f"openssl req -new -key {key} -subj /CN=host -out {request}",
        f"{sign} -startdate 20200101000000Z -enddate 20210203040506Z",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    both.write_text(certificate.read_text() + key.read_text())
    return both


def of_openssl(path: Path) -> float:
    command = ["openssl", "x509", "-noout", "-enddate", "-in", str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().partition("=")[2]
    seconds = subprocess.run(["date", "-u", "-d", said, "+%s"], check=True, capture_output=True, text=True).stdout
    return float(seconds)


@pytest.mark.parametrize(
    ("options", "days"),
    [
        ((), 1),
        ((), 90),
        ((), 40_000),  # from 2050 on the time has another type
        (("-addext", "subjectAltName=IP:127.0.0.1", "-set_serial", "1"), 30),
        (("-subj", f"/O={'x' * 60}/CN=a name with blanks"), 30),
    ],
)
def test_it_ends_when_openssl_says(make: Made, options: tuple[str, ...], days: int) -> None:
    path = make("server", *options, days=days)
    assert ends_s(path) == of_openssl(path)
    assert check_file(path).startswith("good until ")


def test_one_that_has_ended_is_refused_with_the_day(expired: Path) -> None:
    assert ends_s(expired) == of_openssl(expired)
    with pytest.raises(ConfigError, match="ended on 2021-02-03"):
        check_file(expired)


def test_the_first_of_a_chain_counts(make: Made, expired: Path) -> None:
    path = make()
    path.write_text(path.read_text() + expired.read_text())
    assert ends_s(path) == of_openssl(path)


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----"])
def test_what_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "none.pem"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"none\.pem"):
        ends_s(path)


@pytest.mark.parametrize("cut", range(30, 400, 37))
def test_a_broken_one_is_named_wherever_it_is_cut(make: Made, cut: int) -> None:
    path = make()
    lines = path.read_text().replace("-----END CERTIFICATE-----", "").splitlines()
    body = "".join(lines[1:])[: cut // 4 * 4]
    path.write_text(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigError, match=r"server\.pem"):
        ends_s(path)


def test_the_key_of_another_certificate_is_refused(make: Made, tmp_path: Path) -> None:
    make("one")
    make("two")
    with pytest.raises(ConfigError, match="cannot be used together"):
        check_pair(tmp_path / "one.crt", tmp_path / "two.key")


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o641])
def test_a_key_for_everybody_is_refused(make: Made, mode: int) -> None:
    path = make()
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"has the mode {mode:04o}"):
        check_file(path)
    path.chmod(0o640)
    check_file(path)


def test_a_key_with_a_password_is_refused(make: Made, tmp_path: Path) -> None:
    make()
    protected = tmp_path / "protected.key"
    command = f"openssl ec -in {tmp_path}/server.key -aes256 -passout pass:word -out {protected}"
    subprocess.run(command.split(), check=True, capture_output=True)
    protected.chmod(0o600)
    with pytest.raises(ConfigError, match="asks for a password"):
        check_pair(tmp_path / "server.crt", protected)


def checked(
    engine: Publisher, state_path: Path, monkeypatch: pytest.MonkeyPatch, certificates: Certificates, days: float
) -> tuple[Check, dict[str, float]]:
    """Return what telemetry would report about certificates when the clock shows `days` days from now.

    The first value is the check of the certificates in /health. The second value comes from /metrics. For each
    certificate file, it has the time at which the certificate ends, in seconds since 1970.
    """
    engine.publish()
    observer = Observer(state_path)
    now_s = time.time() + days * 86_400
    monkeypatch.setattr("trading_telemetry.health.time.time", lambda: now_s)
    checks = check_all(observer.sample(), None, None, None, None, certificates)
    exporter = EngineCollector({"": observer}, None, lambda: None, certificates)
    families = {family.name: family for family in exporter.collect()}
    samples = families["trading_certificate_end_time_seconds"].samples
    return checks[-1], {sample.labels["file"]: sample.value for sample in samples}


def test_the_command_warns_when_health_does(make: Made) -> None:
    assert check_file(make("later", days=90)).startswith("good until ")
    assert "; it ends in 29 days" in check_file(make("sooner", days=29))


@pytest.mark.parametrize(
    ("days", "status", "words"),
    [
        (59, "ok", "1, good for 30 days and more"),
        (61, "degraded", "ends in 29 days, on"),
        (89.5, "degraded", "ends in 0 days, on"),
        (91, "degraded", "clients refuse it"),
    ],
)
def test_health_warns_thirty_days_before_it_ends(
    engine: Publisher,
    state_path: Path,
    make: Made,
    monkeypatch: pytest.MonkeyPatch,
    days: float,
    status: str,
    words: str,
) -> None:
    path = make(days=90)
    check, ends = checked(engine, state_path, monkeypatch, Certificates(path, ()), days)
    assert (check.name, check.status) == ("certificate", status)
    assert words in check.reason
    assert ends == {str(path): of_openssl(path)}


def test_one_that_is_watched_is_read_anew_and_the_served_one_stays_as_it_is_served(
    make: Made, expired: Path, tmp_path: Path
) -> None:
    served, watched = make("served", days=90), tmp_path / "watched.pem"
    certificates = Certificates(served, (watched,))
    assert "watched.pem cannot be read" in certificates.problems[0]
    watched.write_text(make("renewed", days=30).read_text())
    served.write_text(expired.read_text())
    before = certificates.ends[str(served)]
    certificates.read()
    assert certificates.problems == []
    assert certificates.ends == {str(served): before, str(watched): of_openssl(watched)}


def test_of_a_host_without_any_nothing_is_said(engine: Publisher, state_path: Path) -> None:
    engine.publish()
    checks = check_all(Observer(state_path).sample(), None, None, None, None, Certificates(None, ()))
    assert "certificate" not in {check.name for check in checks}


def test_the_command_says_what_is_wrong_in_one_line(
    make: Made, expired: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-certificate", str(make())]) == 0
    assert "good until" in capsys.readouterr().out
    assert main(["check-certificate", str(expired)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("trading-telemetry: error: the certificate ended on 2021-02-03")
    assert said.count("\n") == 1
