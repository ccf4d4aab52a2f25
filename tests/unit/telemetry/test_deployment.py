"""The role telemetry writes a configuration that telemetry's programs accept.

The systemd units of these programs may read the clock.
"""

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from trading_telemetry.config import load_config
from trading_telemetry.fleet_config import load_fleet

from tests.unit.roles import templates

CREDENTIAL = Path("/run/credentials/telemetry.service/telemetry.token")


def configuration(into: Path, name: str = "telemetry.toml", **shared: Any) -> Path:
    path = into / name
    path.write_text(templates.text(f"etc/trading/{name}.j2", "telemetry", **shared), encoding="utf-8")
    return path


def unit(**shared: Any) -> str:
    shared = {"__telemetry_has_user_namespaces": True, **shared}
    return templates.text("etc/systemd/system/telemetry.service.j2", "telemetry", **shared)


def test_a_token_is_asked_for_unless_somebody_says_none(tmp_path: Path) -> None:
    assert load_config(configuration(tmp_path)).token_path == CREDENTIAL
    assert "LoadCredential=telemetry.token:/etc/trading/secrets/telemetry.token\n" in unit()
    for given in ("none", "None"):
        assert load_config(configuration(tmp_path, telemetry_token=given)).token_path is None
        assert "LoadCredential" not in unit(telemetry_token=given)


@pytest.mark.parametrize(("partitions", "high", "most"), [(0, 192, 256), (16, 320, 384)])
def test_each_partition_gives_telemetry_the_memory_that_it_takes(partitions: int, high: int, most: int) -> None:
    of_a_host = [{"name": f"p{number}", "shared_memory": f"/run/{number}.shm"} for number in range(partitions)]
    lines = unit(telemetry_partitions=of_a_host).splitlines()
    limits = [line for line in lines if line.startswith(("MemoryHigh", "MemoryMax"))]
    assert limits == [f"MemoryHigh={high}M", f"MemoryMax={most}M"]


def test_a_token_file_that_the_settings_name_is_the_one(tmp_path: Path) -> None:
    own = {"access": {"token_file": "/etc/trading/own.token"}}
    assert load_config(configuration(tmp_path, telemetry_settings=own)).token_path == Path("/etc/trading/own.token")
    assert "LoadCredential" not in unit(telemetry_settings=own)


def test_a_token_that_is_given_is_in_no_configuration(tmp_path: Path) -> None:
    given = "correct-horse-battery"
    path = configuration(tmp_path, telemetry_token=given)
    assert load_config(path).token_path == CREDENTIAL
    assert given not in path.read_text(encoding="utf-8") + unit(telemetry_token=given)


def test_the_publisher_is_told_the_region_and_nothing_of_access(tmp_path: Path) -> None:
    settings = {"cloudwatch": {"period_s": 10}, "access": {"trusted_proxies": ["10.0.0.1"]}, "http": {"port": 8001}}
    path = configuration(tmp_path, "publish.toml", trading_region="eu-west-1", telemetry_settings=settings)
    config = load_config(path)
    assert (config.cloudwatch.region, config.cloudwatch.period_s) == ("eu-west-1", 10)
    assert config.token_path is None
    assert not {"[access]", "[http]"} & set(path.read_text(encoding="utf-8").splitlines())


def test_a_host_that_does_not_publish_is_told_nothing_of_cloudwatch(tmp_path: Path) -> None:
    path = configuration(tmp_path, trading_publish="false", trading_region="eu-west-1")  # a text, as from `-e`
    assert "[cloudwatch]" not in path.read_text(encoding="utf-8")
    assert load_config(path).cloudwatch.region == ""


@pytest.mark.parametrize("unit", ["telemetry.service", "trading-publish.service"])
def test_the_clock_may_be_read_and_not_set(unit: str) -> None:
    found = {"__telemetry_has_user_namespaces": True}
    rendered = templates.text(f"etc/systemd/system/{unit}.j2", "telemetry", **found)
    settings = [line.partition("=")[::2] for line in rendered.splitlines() if "=" in line]
    # When a setting occurs twice, the last one counts. Since glibc 2.31, adjtimex() calls clock_adjtime.
    last = dict(settings)
    assert last["SystemCallFilter"].split() == ["adjtimex", "clock_adjtime"]
    assert last["ProtectClock"] == "no"
    assert last["CapabilityBoundingSet"] == ""


HOSTS = [
    {"name": "trading-1", "url": "https://10.0.1.5:8000", "token": "correct-horse-battery", "ca": "PEM"},
    {"name": "trading-2", "url": "http://10.0.1.6:8000"},
]


def fleet_unit(**shared: Any) -> str:
    shared = {"__telemetry_has_user_namespaces": True, "telemetry_fleet_hosts": HOSTS, **shared}
    return templates.text("etc/systemd/system/trading-fleet.service.j2", "telemetry", **shared)


def test_the_page_of_many_hosts_is_handed_its_tokens_and_has_none_in_a_file(tmp_path: Path) -> None:
    config = load_fleet(configuration(tmp_path, "fleet.toml", telemetry_fleet_hosts=HOSTS))
    credentials = Path("/run/credentials/trading-fleet.service")
    assert (config.address, config.port, config.token_path) == ("127.0.0.1", 8010, credentials / "fleet.token")
    assert [(host.name, host.url, host.token_path, host.ca_path) for host in config.hosts] == [
        ("trading-1", HOSTS[0]["url"], credentials / "fleet-trading-1.token", Path("/etc/trading/fleet-trading-1.crt")),
        ("trading-2", HOSTS[1]["url"], None, None),
    ]
    unit = fleet_unit()
    handed = [line for line in unit.splitlines() if line.startswith("LoadCredential=")]
    assert handed == [
        f"LoadCredential={name}:/etc/trading/secrets/{name}" for name in ("fleet.token", "fleet-trading-1.token")
    ]
    assert HOSTS[0]["token"] not in unit + (tmp_path / "fleet.toml").read_text(encoding="utf-8")


def test_the_page_of_many_hosts_takes_settings_a_certificate_and_no_token(tmp_path: Path) -> None:
    given = {
        "telemetry_fleet_hosts": HOSTS[1:],
        "telemetry_fleet_token": "none",
        "telemetry_fleet_certificate": "PEM",
        "telemetry_fleet_settings": {"http": {"address": "0.0.0.0", "port": 8011}},
    }
    config = load_fleet(configuration(tmp_path, "fleet.toml", **given))
    assert (config.address, config.port, config.token_path) == ("0.0.0.0", 8011, None)
    assert config.certificate_path == config.key_path == Path("/run/credentials/trading-fleet.service/fleet.pem")
    assert "LoadCredential=fleet.pem:/etc/trading/secrets/fleet.pem" in fleet_unit(**given)


@pytest.mark.parametrize("has_user_namespaces", [True, False])
def test_systemd_takes_the_unit_of_the_page_and_finds_it_confined(tmp_path: Path, has_user_namespaces: bool) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    path = tmp_path / "trading-fleet.service"
    text = fleet_unit(__telemetry_has_user_namespaces=has_user_namespaces)
    path.write_text(text.replace("/opt/trading/current/bin/trading-telemetry", "/bin/true"), encoding="utf-8")
    analyze = partial(subprocess.run, capture_output=True, text=True, check=False, timeout=60)
    verified = analyze(["systemd-analyze", "verify", "--man=no", str(path)])
    assert [line for line in verified.stderr.splitlines() if "trading-fleet" in line] == []
    judged = analyze(["systemd-analyze", "security", "--no-pager", "--offline=true", str(path)])
    exposure = float(judged.stdout.rpartition("trading-fleet.service: ")[2].split()[0])
    assert exposure <= 1.5
