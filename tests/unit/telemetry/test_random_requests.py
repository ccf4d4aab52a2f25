"""Telemetry answers every request with a status below 500, whatever bytes a client sends.

The service also answers the next request. `scripts/prove http` tests the same for an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.unit.telemetry import api_fuzzer
from tests.unit.telemetry.fuzzed_service import TOKEN, Target, started
from tests.unit.telemetry.random_requests import requests
from tests.unit.telemetry.raw_connection import asked

CORPUS = sorted((Path(__file__).parent / "requests").glob("*/*.http"))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with started(tmp_path_factory.mktemp("target")) as running:
        yield running


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_once_failed_or_is_typical_has_its_status(target: Target, path: Path) -> None:
    port = target.guarded_port if path.parent.name == "guarded" else target.open_port
    assert asked(port, TOKEN, path.read_bytes()) == (int(path.stem[:3]), 200)


@given(request=requests())
@settings(
    max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
def test_anything_gets_an_answer_that_is_no_error_of_ours(target: Target, request: bytes) -> None:
    for port in (target.open_port, target.guarded_port):
        assert max(asked(port, TOKEN, request)) < 500


def test_what_is_described_is_what_is_answered(target: Target, tmp_path: Path) -> None:
    api_fuzzer.fuzz(target.open_port, tmp_path, "--generation-deterministic", "--max-examples=8")
