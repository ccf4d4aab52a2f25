"""One deployment for all end-to-end tests; what it started is removed whatever happens."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator

import pytest

from tests.e2e.deployment import Deployment
from tests.runner.lanes import BESIDE

LOSES_THE_HOST = re.compile("/test_[7-9]_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the tests that measure come after all others, but for those of the files that lose or remove the host."""
    items.sort(
        key=lambda item: (bool(LOSES_THE_HOST.search(item.nodeid)), "alone" in getattr(item, "fixturenames", ()))
    )


@pytest.fixture(scope="session")
def alone() -> None:
    """Wait until nothing runs beside these tests, whose work would be measured as well."""
    if path := os.environ.get(BESIDE):
        with open(path, encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An embedded EC2 with an empty account."""
    it = Deployment(tmp_path_factory.mktemp("end to end"))
    try:
        it.down()  # what a run that was killed may have left
        it.up()
        yield it
    finally:
        it.down()


@pytest.fixture(scope="session")
def deployed(sandbox: Deployment) -> Deployment:
    """The account after `ansible-playbook site.yml`; the clock is not judged here, the report is."""
    play = sandbox.play("site.yml", slo_enforce="report")
    (sandbox.work / "site.log").write_text(play.output, encoding="utf-8")
    assert play.exit_code == 0, play.output[-6000:]
    return sandbox
