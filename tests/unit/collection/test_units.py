"""What every unit of ours has, whichever role writes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
