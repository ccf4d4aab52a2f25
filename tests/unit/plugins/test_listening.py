"""The address at which a host reaches one of its own services."""

from __future__ import annotations

import pytest
from ansible_collections.lowlatency.trading.plugins.filter.listening import own_address, own_url_host


@pytest.mark.parametrize(
    ("listening", "address", "url_host"),
    [
        ("0.0.0.0", "127.0.0.1", "127.0.0.1"),
        ("::", "::1", "[::1]"),
        ("10.77.1.10", "10.77.1.10", "10.77.1.10"),
        ("fd00:77::10", "fd00:77::10", "[fd00:77::10]"),
    ],
)
def test_a_host_reaches_its_own_service(listening: str, address: str, url_host: str) -> None:
    assert own_address(listening) == address
    assert own_url_host(listening) == url_host
