"""Which tests run side by side: those of a file on one worker, and all that boot machines on the same one."""

from __future__ import annotations

from pathlib import Path

import pytest

BOOT_MACHINES = ("sandbox", "tuning")
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # xdist reads the mark in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in (it for it in items if HERE in it.path.parents):
        part, *rest = item.path.relative_to(HERE).parts
        item.add_marker(pytest.mark.xdist_group("machines" if part in BOOT_MACHINES else "/".join([part, *rest])))
