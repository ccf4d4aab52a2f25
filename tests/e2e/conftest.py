"""One deployment for all end-to-end tests. At the end, everything that it started is removed, even after a failure.

The test files share the deployment and run in the order of their numbers. The first file only inspects it. Later files
change it and restore it, and the last one removes it. Each file can be run alone. Tests with the fixture `alone`
measure, and come after the tests that do not measure.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.deployment import ROOT, Deployment
from tests.runner.lanes import BESIDE

GENEROUS_TARGETS = ROOT / "extensions/molecule/shared/vars/generous_targets.yml"
LOSES_THE_HOST = re.compile("/test_[7-9]_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that measure after all other tests, except the files that lose or remove the host.

    Those files run last.
    """
    items.sort(
        key=lambda item: (bool(LOSES_THE_HOST.search(item.nodeid)), "alone" in getattr(item, "fixturenames", ()))
    )


@pytest.fixture(scope="session")
def alone() -> None:
    """Wait until no other part of the test suite runs, because its work would disturb the measurements."""
    if path := os.environ.get(BESIDE):
        with open(path, encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Yield a running sandbox, that is, an embedded EC2 with an empty AWS account. Remove it at the end."""
    given = yaml.safe_load(GENEROUS_TARGETS.read_text(encoding="utf-8"))
    it = Deployment(tmp_path_factory.mktemp("end to end"), given=given)
    try:
        it.down()  # what a run that was killed may have left
        it.up()
        yield it
    finally:
        it.down()


@pytest.fixture(scope="session")
def deployed(sandbox: Deployment) -> Deployment:
    """Return the sandbox after a run of `site.yml`. Keep the report of this run as site.json."""
    play = sandbox.play("site.yml", slo_enforce="report")
    (sandbox.work / "site.log").write_text(play.output, encoding="utf-8")
    assert play.exit_code == 0, play.output[-6000:]
    (report,) = sandbox.reports.glob("*.json")
    shutil.copy(report, sandbox.work / "site.json")
    return sandbox
