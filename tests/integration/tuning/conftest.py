"""One machine for every test of tuning."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.sandbox.conftest import clouds
from tests.proofs.tuning_host import TuningHost


@pytest.fixture(scope="session")
def tuning_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TuningHost]:
    if os.geteuid() != 0:
        pytest.skip("machines need root; `sudo -E scripts/test` runs these tests")
    for (cloud,) in clouds({"test-tuning": "10.207.0.0/16"}, tmp_path_factory.mktemp("tuning")):
        cloud.up()
        yield TuningHost.start(cloud)
