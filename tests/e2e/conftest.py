"""One deployment for all end-to-end tests; what it started is removed whatever happens.

The files share it and run in the order of their numbers: the first looks at it, those after it change it and put it
back, the last one removes it. Each of them can be run alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.deployment import ROOT, Deployment

GENEROUS_TARGETS = ROOT / "extensions/molecule/shared/vars/generous_targets.yml"


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An embedded EC2 with an empty account."""
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
    """The account after `ansible-playbook site.yml`, whose report is kept as site.json."""
    play = sandbox.play("site.yml", slo_enforce="report")
    (sandbox.work / "site.log").write_text(play.output, encoding="utf-8")
    assert play.exit_code == 0, play.output[-6000:]
    (report,) = sandbox.reports.glob("*.json")
    shutil.copy(report, sandbox.work / "site.json")
    return sandbox
