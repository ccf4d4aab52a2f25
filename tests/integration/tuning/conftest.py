"""The fixture `tuning_host`: one sandbox machine, which all tests of this folder share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.proofs.tuning_host import TuningHost, booted


@pytest.fixture(scope="session")
def tuning_host() -> Iterator[TuningHost]:
    if os.geteuid() != 0:
        pytest.skip("machines need root; `sudo -E scripts/test` runs these tests")
    with booted("test-tuning", "10.207.0.0/16") as host:
        yield host
