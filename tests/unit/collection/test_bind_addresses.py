"""Engine, feed and telemetry listen at the addresses that the user gives. The host's own programs connect there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.collection.plays import printed

ROOT = Path(__file__).parents[3]
SHOWN = (
    ("health", "slo_health_url"),
    ("orders", "slo_local_address | lowlatency.trading.own_address"),
    ("engine", "trading_engine_address"),
    ("telemetry", "telemetry_address"),
)


GIVEN: dict[str, dict[str, Any]] = {
    "all": {},
    "one": {"trading_order_address": "10.0.1.5", "trading_telemetry_address": "10.0.1.6"},
    "ipv6": {"trading_order_address": "::", "trading_telemetry_address": "fd00::5", "trading_telemetry_port": 8001},
    # The last one, because Ansible prints the same warning only once.
    "role": {"trading_engine_address": "10.0.1.5", "telemetry_address": "127.0.0.1"},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, str], str]]:
    """Return two things for each entry of GIVEN: the values of the expressions in SHOWN, and Ansible's output."""
    roles = tuple(ROOT / "roles" / name for name in ("trading_engine", "telemetry", "slo"))
    cases = {name: ({key: f"{{{{ {value} }}}}" for key, value in SHOWN}, given) for name, given in GIVEN.items()}
    return printed(tmp_path_factory.mktemp("addresses"), roles, cases)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all", ("http://127.0.0.1:8000/health", "127.0.0.1", "0.0.0.0", "0.0.0.0")),
        ("one", ("http://10.0.1.6:8000/health", "10.0.1.5", "10.0.1.5", "10.0.1.6")),
        ("ipv6", ("http://[fd00::5]:8001/health", "::1", "::", "fd00::5")),
    ],
)
def test_what_asks_on_the_host_follows_the_shared_addresses(
    rendered: dict[str, tuple[dict[str, str], str]], name: str, expected: tuple[str, ...]
) -> None:
    shown, said = rendered[name]
    assert tuple(shown[key] for key, _value in SHOWN) == expected
    assert "rename it" not in said


def test_an_address_that_a_role_alone_was_given_is_followed_and_warned_of(
    rendered: dict[str, tuple[dict[str, str], str]],
) -> None:
    shown, said = rendered["role"]
    assert (shown["orders"], shown["health"]) == ("10.0.1.5", "http://127.0.0.1:8000/health")
    assert "telemetry_address is now trading_telemetry_address: rename it" in " ".join(said.split())
