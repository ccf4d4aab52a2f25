"""What every unit of ours has, whichever role writes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import Environment, StrictUndefined

ROLES = Path(__file__).parents[3] / "roles"
UNITS = sorted([*ROLES.glob("*/templates/**/*.service.j2"), *ROLES.glob("*/templates/**/*.service.d/*.j2")])
INCLUDED = re.compile(r"lookup\('ansible.builtin.file', (role_path ~ )?'([^']+)'\)")


def written(unit: Path) -> str:
    """Return a unit's template with the files that it takes in."""
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
        __telemetry_networks=networks,
        __telemetry_own_addresses=["10.0.0.5"],
        __telemetry_has_user_namespaces=has_user_namespaces,
        role_path="",
        lookup=lambda *_: "",
    ).splitlines()
    assert ("IPAddressAllow=localhost 198.51.100.7/32 10.0.0.5" in lines) is allowed
    assert ("PrivateUsers=yes" in lines) is has_user_namespaces


def test_what_has_the_state_open_ends_with_its_volume_and_comes_back_with_the_engine() -> None:
    """A volume that somebody reads cannot be unmounted; systemd adds the mounts of a StateDirectory by itself."""
    units = {unit.name: unit.read_text() for unit in UNITS}
    assert re.search(r"^StateDirectory=trading trading/journal", units["trading-engine.service.j2"], re.MULTILINE)
    assert "Wants=trading-feed.service" in units["trading-engine.service.j2"].splitlines()
    assert re.search(r"^RequiresMountsFor=.*/var/lib/trading/itch", units["trading-feed.service.j2"], re.MULTILINE)
