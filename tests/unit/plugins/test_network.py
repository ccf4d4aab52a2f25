"""Networks of equal size, one after the other."""

from __future__ import annotations

import pytest
from ansible_collections.lowlatency.trading.plugins.filter.network import FilterModule

following_network = FilterModule().filters()["following_network"]


@pytest.mark.parametrize(
    ("cidr", "number", "expected"),
    [
        ("10.77.1.0/24", 0, "10.77.1.0/24"),
        ("10.77.1.0/24", 2, "10.77.3.0/24"),
        ("10.77.255.0/24", 1, "10.78.0.0/24"),
        ("2600:1f18:6b:e600::/64", 1, "2600:1f18:6b:e601::/64"),
        ("2600:1f18:6b::/64", 15, "2600:1f18:6b:f::/64"),
    ],
)
def test_a_network_lies_a_number_of_its_own_size_behind(cidr: str, number: int, expected: str) -> None:
    assert following_network(cidr, number) == expected


def test_the_end_of_the_address_space_is_said() -> None:
    with pytest.raises(ValueError, match=r"no 2 more networks behind 255\.255\.254\.0/24"):
        following_network("255.255.254.0/24", 2)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="has host bits set"):
        following_network("10.77.1.1/24", 0)
