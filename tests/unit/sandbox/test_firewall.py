from ipaddress import IPv4Address, IPv4Network

import pytest
from embedded_ec2.firewall import Guarded, Rule, render

ANY = IPv4Network("0.0.0.0/0")
OFFICE = IPv4Network("198.51.100.0/24")


def guarded(
    link: str, ingress: tuple[Rule, ...] = (), egress: tuple[Rule, ...] = (), public: str | None = None
) -> Guarded:
    return Guarded(link, IPv4Address("10.0.1.4"), public, ingress, egress)


def ingress_lines(*rules: Rule) -> list[str]:
    """Return the lines of the firewall chain for a machine whose security group has these rules.

    This chain decides which packets reach the machine.
    """
    lines = [line.strip() for line in render([guarded("vm-1", ingress=rules)]).splitlines()]
    start = lines.index("chain to-vm-1 {")
    return lines[start + 1 : lines.index("}", start)]


def test_without_rules_everything_to_a_machine_is_dropped() -> None:
    assert ingress_lines() == ["drop"]


def test_what_no_chain_decides_is_dropped() -> None:
    assert "policy drop;" in render([])


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (Rule("tcp", 22, 22, (OFFICE,)), "ip saddr { 198.51.100.0/24 } tcp dport 22-22 accept"),
        (Rule("udp", 5000, 5010, (ANY,)), "udp dport 5000-5010 accept"),
        (Rule("-1", None, None, (ANY,)), "accept"),
        (Rule("icmp", -1, -1, (OFFICE,)), "ip saddr { 198.51.100.0/24 } meta l4proto icmp accept"),
        (Rule("icmp", 8, 0, (ANY,)), "icmp type 8 accept"),
        (Rule("47", None, None, (ANY,)), "meta l4proto 47 accept"),
    ],
)
def test_a_rule_allows_what_it_names_and_the_rest_is_dropped(rule: Rule, line: str) -> None:
    assert ingress_lines(rule) == [line, "drop"]


def test_a_group_without_machines_as_the_other_side_allows_nobody() -> None:
    assert ingress_lines(Rule("tcp", 22, 22, ())) == ["drop"]


def test_members_of_a_group_are_let_in_at_private_addresses_only() -> None:
    rule = Rule("tcp", 9001, 9001, (), (IPv4Network("10.0.1.9/32"),))
    assert ingress_lines(rule) == ["ct status & dnat == 0 ip saddr { 10.0.1.9/32 } tcp dport 9001-9001 accept", "drop"]


def test_leaving_one_machine_is_not_yet_entering_another() -> None:
    script = render([guarded("vm-1", egress=(Rule("-1", None, None, (ANY,)),))])
    leaving = script[script.index("chain from-vm-1") : script.index("chain to-vm-1")]
    assert "return" in leaving
    assert "accept" not in leaving


def test_every_machine_is_judged_in_both_directions() -> None:
    script = render([guarded(link) for link in ("vm-1", "vm-2")])
    for link in ("vm-1", "vm-2"):
        assert f'iifname "{link}" jump from-{link}' in script
        assert f'oifname "{link}" goto to-{link}' in script


def test_a_public_address_leads_to_the_private_one() -> None:
    assert "dnat ip to ip daddr map { 203.0.113.1 : 10.0.1.4 }" in render([guarded("vm-1", public="203.0.113.1")])


def test_without_public_addresses_nothing_is_translated() -> None:
    assert "nat" not in render([guarded("vm-1")]).split()
