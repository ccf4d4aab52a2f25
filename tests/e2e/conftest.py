"""One deployment for all end-to-end tests; what it started is removed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.deployment import Deployment


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
