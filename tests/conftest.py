"""Fixtures that the tests of every folder can use."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence

import pytest
from hypothesis import settings

# A limit for the time of an example would fail tests on a busy machine.
settings.register_profile("trading", deadline=None)
settings.load_profile("trading")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests with the marker `proof`, because they take too long for scripts/test."""
    if not os.environ.get("TRADING_PROOF"):
        for item in items:
            if item.get_closest_marker("proof"):
                item.add_marker(pytest.mark.skip(reason="it takes long: scripts/prove tests runs it"))


@pytest.fixture(scope="module")
def in_written_order(request: pytest.FixtureRequest) -> None:
    """Declare that the tests of a file build on each other. Each continues from the previous test's state.

    They must therefore run in the order of the file, from the first test on. When the selection of tests leaves out an
    earlier test, this fixture fails with an explanation.
    """
    module = request.node
    written = [
        name
        for name, value in vars(module.obj).items()
        if name.startswith("test_") and inspect.isfunction(value) and value.__module__ == module.obj.__name__
    ]
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and item.parent is module]
    picked = list(dict.fromkeys(item.originalname for item in items))
    if problem := out_of_order(written, picked):
        what = f"{module.name}: its tests build on each other, and {problem}; run the file from its first test on"
        pytest.fail(what, pytrace=False)


def out_of_order(written: Sequence[str], picked: Sequence[str]) -> str:
    """Return why the selected tests cannot run, or an empty text when they can.

    They can run when they are the first tests of the file, without a gap.
    """
    if list(picked) == list(written[: len(picked)]):
        return ""
    last = max(written.index(name) for name in picked)
    missing = [name for name in written[:last] if name not in picked]
    return f"{missing[0]} is not run before {written[last]}" if missing else "they are not in the order of the file"
