"""When a host lacks something without which the engine cannot start, the engine reports what is missing.

Examples are the hash function scrypt and the time zones.
"""

from __future__ import annotations

import hashlib
import os
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trading_engine import __main__ as program
from trading_engine.settings import config, passwords
from trading_engine.settings.tables import ConfigError

SYMBOL = "[[symbol]]\nname = 'TEST'\nreference_price = 1\n"


def configuration(tmp_path: Path, hashed: str, more: str = "") -> Path:
    path = tmp_path / "engine.toml"
    path.write_text(f"{SYMBOL}[accounts.ANNA]\npassword = '{hashed}'\n{more}")
    return path


def refused(*_arguments: object, **_options: object) -> bytes:
    """Raise the same error as OpenSSL's FIPS provider, which has no scrypt."""
    raise ValueError("[digital envelope routines] unsupported")


@pytest.fixture
def hashed() -> str:
    return passwords.hash_password("secret")


@pytest.fixture(params=["refused", "absent"])
def no_scrypt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, hashed: str) -> None:
    if request.param == "refused":
        monkeypatch.setattr(hashlib, "scrypt", refused)
    else:
        monkeypatch.delattr(hashlib, "scrypt")


@pytest.mark.usefixtures("no_scrypt")
def test_a_machine_without_scrypt_is_told_of_before_the_engine_runs(tmp_path: Path, hashed: str) -> None:
    with pytest.raises(ConfigError, match=r"ANNA.*has no scrypt.*FIPS mode"):
        config.read(configuration(tmp_path, hashed))


@pytest.mark.usefixtures("no_scrypt")
def test_hash_password_says_so_as_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin.readline", lambda: "secret\n", raising=False)
    assert program.main(["hash-password"]) == program.EXIT_ERROR
    assert "has no scrypt" in capsys.readouterr().err


@pytest.fixture
def no_zones() -> Iterator[None]:
    """Simulate a host without time zones until the test ends. Only the release's own time zones remain."""
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.usefixtures("no_zones")
@pytest.mark.parametrize("zone", ["US/Eastern", "America/New_York"])
def test_a_zone_that_the_distribution_dropped_is_still_known(tmp_path: Path, hashed: str, zone: str) -> None:
    assert str(config.read(configuration(tmp_path, hashed, f"[day]\nzone = '{zone}'\n")).zone) == zone


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    lengths: list[float] = []
    monkeypatch.setattr("time.sleep", lengths.append)
    return lengths


@pytest.mark.parametrize(("starter", "pauses"), [(os.getpid, 1), (os.getppid, 0)])
def test_only_a_service_that_cannot_start_pauses_before_systemd_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slept: list[float], starter: Callable[[], int], pauses: int
) -> None:
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(starter()))
    assert program.main(["--config", str(tmp_path / "nowhere.toml")]) == program.EXIT_ERROR
    assert len(slept) == pauses
    assert program.main(["check-config", str(tmp_path / "nowhere.toml")]) == program.EXIT_ERROR
    assert len(slept) == pauses
