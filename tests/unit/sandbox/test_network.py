from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from embedded_ec2.network import (
    PUBLIC_RANGE,
    SLOTS,
    Leg,
    Subnet,
    conflict_with_host,
    public_slot,
    slots_in_use_otherwise,
)

NO_LINKS: frozenset[str] = frozenset()


def test_no_two_sandboxes_share_a_public_address() -> None:
    slots = [public_slot(slot) for slot in range(SLOTS)]
    assert sum(slot.num_addresses for slot in slots) == PUBLIC_RANGE.num_addresses
    assert not any(a.overlaps(b) for i, a in enumerate(slots) for b in slots[:i])


@pytest.mark.parametrize("cidr", ["8.8.8.0/24", "54.214.0.0/16", "203.0.113.0/28"])
def test_addresses_that_belong_to_others_are_refused(cidr: str) -> None:
    assert "not a private range" in str(conflict_with_host(IPv4Network(cidr), NO_LINKS))


def test_a_share_with_an_address_that_this_machine_uses_is_left_alone(tmp_path: Path) -> None:
    hosts, apt_sources = tmp_path / "hosts", tmp_path / "apt"
    hosts.write_text("127.0.0.1 localhost\n203.0.113.255 mirror # a lab's own\n198.51.100.7 elsewhere\n")
    assert slots_in_use_otherwise((hosts, tmp_path / "missing"), apt_sources) >= {7}
    hosts.write_text("127.0.0.1 localhost\n")
    assert 7 not in slots_in_use_otherwise((hosts,), apt_sources)
    (apt_sources / "sources.list.d").mkdir(parents=True)
    (apt_sources / "sources.list.d/lab.sources").write_text("Types: deb\nURIs: http://203.0.113.254:8080/debian\n")
    assert 7 in slots_in_use_otherwise((hosts,), apt_sources)


def test_addresses_this_machine_does_not_use_are_accepted() -> None:
    assert conflict_with_host(IPv4Network("10.253.7.0/24"), NO_LINKS) is None


def test_device_names_fit_into_the_kernels_fifteen_characters() -> None:
    subnet = Subnet("subnet-0123456789abcdef0", IPv4Network("10.0.1.0/24"))
    leg = Leg("i-0123456789abcdef0", subnet, "02:00:00:00:00:01", IPv4Address("10.0.1.4"))
    names = [subnet.host_link, subnet.router_link, leg.router_link]
    assert all(len(name) <= 15 for name in names)
    assert len(set(names)) == len(names)


def test_the_gateway_is_the_subnets_first_address() -> None:
    assert Subnet("subnet-1", IPv4Network("10.0.1.0/24")).gateway == IPv4Address("10.0.1.1")
