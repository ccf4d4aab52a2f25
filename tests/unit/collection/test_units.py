"""All systemd units of the collection share some settings, although several roles write them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.filter.core import FilterModule
from jinja2 import Environment, StrictUndefined
from jinja2.nativetypes import NativeEnvironment

from tests.unit.roles import templates

FRESH = "lowlatency.trading.fresh_unit"
ROLES = Path(__file__).parents[3] / "roles"
UNITS = sorted([*ROLES.glob("*/templates/**/*.service.j2"), *ROLES.glob("*/templates/**/*.service.d/*.j2")])
# The most exposure that each unit may have, as `systemd-analyze security` measures it on a scale to 10.
MOST_EXPOSED = {
    "trading-engine.service": 1.4,
    "trading-feed.service": 1.4,
    "trading-tls.service": 1.4,
    "trading-backup.service": 1.3,
    "telemetry.service": 1.5,
    "trading-publish.service": 1.5,
}
RENDERED_WITH = {
    "__trading_engine_links": [],
    "__trading_engine_stunnel": {"command": "/usr/bin/stunnel4"},
    "__telemetry_has_user_namespaces": True,
    "__telemetry_networks": ["198.51.100.7/32"],
    "__telemetry_health_check_networks": [],
    "__telemetry_own_addresses": ["10.0.0.5"],
}
INCLUDED = re.compile(r"lookup\('ansible.builtin.file', (role_path ~ )?'([^']+)'\)")


def written(unit: Path) -> str:
    """Return the text of a unit's template, together with the files that the template includes."""
    role = ROLES / unit.relative_to(ROLES).parts[0]
    files = [role / path if base else role / "files" / path for base, path in _included(unit)]
    return unit.read_text() + "".join(file.resolve().read_text() for file in files)


def _included(unit: Path) -> list[tuple[str, str]]:
    return [(found[1], found[2].lstrip("/")) for found in INCLUDED.finditer(unit.read_text())]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_no_unit_is_swapped_out(unit: Path) -> None:
    assert "MemorySwapMax=0" in written(unit).splitlines()


@pytest.mark.parametrize(
    ("cpus", "there", "not_there"), [([0], "CPUAffinity=0", "CPUWeight"), ([], "CPUWeight=idle", "CPUAffinity")]
)
def test_the_feed_has_the_second_cpu_or_what_the_engine_leaves(cpus: list[int], there: str, not_there: str) -> None:
    unit = ROLES / "trading_engine/templates/etc/systemd/system/trading-feed.service.j2"
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(unit.read_text())  # noqa: S701
    text = template.render(
        trading_engine_feed_command=["trading-feed"],
        trading_engine_feed_cpus=cpus,
        __trading_engine_feed_settings="{}",
        __trading_engine_links=[],
        lookup=lambda *_: "",
    )
    assert there in text.splitlines()
    assert not_there not in text


@pytest.mark.parametrize(("networks", "allowed"), [(["198.51.100.7/32"], True), ([], False)])
@pytest.mark.parametrize("has_user_namespaces", [True, False])
def test_telemetry_answers_the_host_itself_and_does_without_what_the_kernel_lacks(
    networks: list[str], allowed: bool, has_user_namespaces: bool
) -> None:
    unit = ROLES / "telemetry/templates/etc/systemd/system/telemetry.service.j2"
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(unit.read_text())  # noqa: S701
    lines = template.render(
        telemetry_partitions=[],
        __telemetry_networks=networks,
        __telemetry_asks_for_token=True,
        __telemetry_has_certificate=True,
        __telemetry_secrets="",
        __telemetry_health_check_networks=[],
        __telemetry_own_addresses=["10.0.0.5"],
        __telemetry_has_user_namespaces=has_user_namespaces,
        role_path="",
        lookup=lambda *_: "",
    ).splitlines()
    assert ("IPAddressAllow=localhost 198.51.100.7/32 10.0.0.5" in lines) is allowed
    assert ("PrivateUsers=yes" in lines) is has_user_namespaces


@pytest.mark.parametrize(
    ("variables", "allowed"),
    [
        ({}, "IPAddressAllow=localhost 198.51.100.7/32 10.77.1.5"),
        ({"trading_fleet": True}, "IPAddressAllow=localhost 198.51.100.7/32 10.77.0.0/16 10.77.1.5"),
        (
            {"trading_fleet": "true", "trading_vpc_cidr": "10.90.0.0/16"},
            "IPAddressAllow=localhost 198.51.100.7/32 10.90.0.0/16 10.77.1.5",
        ),
        ({"trading_fleet": True, "trading_operator_cidr": ""}, None),
    ],
    ids=["a host alone", "a group's host", "another network", "no operator"],
)
def test_telemetry_answers_the_health_checks_of_a_fleet_s_balancers(
    variables: dict[str, Any], allowed: str | None
) -> None:
    given = {
        "trading_operator_cidr": "198.51.100.7/32",
        "ansible_facts": {"all_ipv4_addresses": ["10.77.1.5"]},
        "ansible_search_path": [str(ROLES / "telemetry")],
        "__telemetry_has_user_namespaces": True,
        **variables,
    }
    unit = templates.text("etc/systemd/system/telemetry.service.j2", "telemetry", **given)
    assert [line for line in unit.splitlines() if line.startswith("IPAddress")] == (
        ["IPAddressDeny=any", allowed] if allowed else []
    )


def test_another_limit_is_no_reason_to_restart_the_feed_and_another_port_is() -> None:
    role = ROLES / "trading_engine"
    tasks = yaml.safe_load((role / "tasks/units.yml").read_text())
    (feed,) = (unit for task in tasks if (unit := task.get(FRESH)) and "feed_unit" in unit["name"])
    assert feed["sources"] == ["/opt/trading/current"]
    unit = role / "templates/etc/systemd/system/trading-feed.service.j2"
    assert re.search(r"^# .*{{ __trading_engine_feed_settings }}$", unit.read_text(), re.MULTILINE)

    written = yaml.safe_load((role / "vars/main.yml").read_text())["__trading_engine_feed_settings"]
    jinja = NativeEnvironment()
    jinja.filters |= FilterModule().filters()

    def shown(port: int, settings: dict[str, Any]) -> str:
        own = {"market_data": {"port": port}, "accounts": {"file": "accounts.toml"}}
        found = jinja.from_string(written).render(__trading_engine_settings=own, trading_engine_settings=settings)
        return json.dumps(found) if isinstance(found, dict) else str(found)

    same = shown(9002, {})
    assert shown(9002, {"limits": {"max_shares": 5}}) == same
    assert "9002" in same
    assert "accounts" not in same
    assert len({same, shown(9102, {}), shown(9002, {"itch": {"directory": "/itch"}})}) == 3


def test_what_has_the_state_open_ends_with_its_volume_and_comes_back_with_the_engine() -> None:
    """Processes with open files on the state's volume end before the volume is unmounted.

    Otherwise the volume could not be unmounted. A unit with the setting StateDirectory already depends on its mounts.
    """
    units = {unit.name: unit.read_text() for unit in UNITS}
    assert re.search(r"^StateDirectory=trading trading/journal", units["trading-engine.service.j2"], re.MULTILINE)
    assert "Wants=trading-feed.service" in units["trading-engine.service.j2"].splitlines()
    assert re.search(r"^RequiresMountsFor=.*/var/lib/trading/itch", units["trading-feed.service.j2"], re.MULTILINE)


# trading-spot runs as root, because it calls systemd. It has no capabilities.
@pytest.mark.parametrize(("unit", "most"), [*MOST_EXPOSED.items(), ("trading-spot.service", 1.7)])
def test_a_unit_is_exposed_no_more_than_it_must_be(tmp_path: Path, unit: str, most: float) -> None:
    (template,) = (path for path in UNITS if path.name == f"{unit}.j2")
    role = template.relative_to(ROLES).parts[0]
    text = templates.text(f"etc/systemd/system/{unit}.j2", role, **RENDERED_WITH)
    (tmp_path / unit).write_text(text, encoding="utf-8")
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    bound = f"--threshold={most * 10:.0f}"
    judged = ["systemd-analyze", "security", "--offline=true", "--no-pager", bound, str(tmp_path / unit)]
    done = subprocess.run(judged, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
