"""The rules of the host's firewall. nft loads them in a network namespace that only the test uses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

from tests.unit.collection import firewall_packets
from tests.unit.roles import templates

ROLE = Path(__file__).parents[3] / "roles/hardening"
APART = ("unshare", "--map-root-user", "--net")
NFT = "/usr/sbin/nft"
OPERATOR = {"trading_operator_cidr": "198.51.100.7/32", "hardening_silent_users": ["games"]}
# Cases of firewall_packets in which the kernel's connection table has entries for the connections.
OF_OPERATORS = ("an operator", "no operator", "a balancer that asks for the health", "a balancer that logs in")
# User ids in place of users who may be missing on this machine. The role has created the user `made`.
UIDS = {"root": 0, "games": 5, "daemon": 1, "trading-publish": 996, "cwagent": 997}
MADE = {"results": [{"item": "made", "uid": 998}, {"item": "made in check mode"}]}


def rules(variables: dict[str, Any]) -> str:
    """Render the firewall's rules with these variables. Let nft check them, and return them."""
    known = {"__hardening_firewall": {"uids": UIDS}, "__hardening_made": MADE}
    text = templates.text("etc/trading-firewall.nft.j2", "hardening", **known | variables) + "\n"
    check = [*APART, NFT, "--check", "--file", "-"]
    done = subprocess.run(check, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return text


def loaded(text: str) -> str:
    """Load the rules twice, as a host does when its rules change. Return the rules that nft then lists."""
    script = f"{NFT} --file - && {NFT} --stateless list table inet trading"
    done = subprocess.run(
        [*APART, "sh", "-c", script],
        input=text + text,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    "variables",
    [
        OPERATOR,
        {**OPERATOR, "trading_client_cidrs": ["203.0.113.0/28", "203.0.113.0/24"], "trading_order_port": "9100"},
        {**OPERATOR, "trading_operator_ipv6_cidrs": ["2001:db8::/64"], "trading_client_ipv6_cidrs": ["::/0"]},
    ],
    ids=["operator", "clients", "ipv6"],
)
def test_nft_takes_the_rules_of_each_choice_of_variables(variables: dict[str, Any]) -> None:
    assert "policy drop" in loaded(rules(variables))


def test_the_rules_are_those_of_the_security_group_s_variables() -> None:
    variables = {**OPERATOR, "trading_client_cidrs": ["203.0.113.0/28"], "trading_telemetry_port": 8001}
    text = loaded(rules(variables))
    assert "tcp dport { 22, 8001 } jump from_operators" in text
    assert "tcp dport { 9001, 9002 } jump from_clients" in text
    assert "elements = { 198.51.100.7 }" in text
    assert "elements = { 203.0.113.0/28 }" in text


def test_texts_of_the_command_line_are_the_lists_that_they_stand_for() -> None:
    lists: dict[str, list[Any]] = {
        "trading_operator_cidr": ["198.51.100.7/32", "198.51.100.9/32"],
        "trading_operator_ipv6_cidrs": ["2001:db8::1"],
        "trading_client_cidrs": ["203.0.113.0/24"],
        "trading_client_ipv6_cidrs": ["2001:db8:1::/64", "2001:db8:2::/64"],
        "hardening_operator_ports": [22, 2222],
        "hardening_client_ports": [9001],
        "hardening_silent_users": ["games", "daemon"],
    }
    texts = {name: ",".join(str(value) for value in values) for name, values in lists.items()}
    assert rules(texts) == rules(lists)
    assert "tcp dport { 22, 2222 } jump from_operators" in rules(texts)
    assert "chain untracked" not in rules({**OPERATOR, "hardening_client_ports": ""})


def test_the_rules_follow_what_the_other_roles_were_given() -> None:
    given = {"telemetry_port": "8002", "trading_engine_port": "9100", "trading_engine_feed_port": 9200}
    text = rules({**OPERATOR, **given, "trading_client_cidrs": ["203.0.113.0/28"]})
    assert "tcp dport { 22, 8002 } jump from_operators" in text
    assert "tcp dport { 9100, 9200 } jump from_clients" in text


def test_orders_pass_without_an_entry_of_the_connection_table_and_nobody_else_s_packets_do() -> None:
    variables = {
        "trading_operator_cidr": f"{firewall_packets.OPERATOR}/32",
        "trading_client_cidrs": [f"{firewall_packets.CLIENT}/32"],
        "trading_client_ipv6_cidrs": [f"{firewall_packets.CLIENT_IPV6}/128"],
        "trading_telemetry_port": firewall_packets.TELEMETRY,
        "hardening_health_check_cidrs": f"{firewall_packets.GENERATOR}/32",
        "hardening_silent_users": ["games"],
    }
    done = subprocess.run(
        [*APART, sys.executable, "-m", firewall_packets.__name__],
        input=rules(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    tracked = {name: entries for name, (_, entries) in found.items() if entries}
    assert {name: said for name, (said, _) in found.items()} == {
        "a client": "answered",
        "a client over IPv6": "answered",
        "loopback": "answered",
        "the host itself": "answered",
        "a generator that does not measure": "unknown_source",
        "a generator that measures": "answered",
        "no client": "unknown_source",
        "no client, untracked by others": "unknown_source",
        "no client, led there by others": "unknown_source",
        "an operator": "answered",
        "no operator": "unknown_source",
        "a balancer that asks for the health": "answered",
        "a balancer that logs in": "unknown_source",
    }
    # The cases run one after the other, and the connection table keeps an entry after its connection.
    first, *later = tracked
    assert first == "an operator", "the positive control"
    assert {first, *later} <= {*OF_OPERATORS}, tracked


def test_a_fleet_opens_telemetry_and_not_ssh_to_its_network() -> None:
    alone = loaded(rules(OPERATOR))
    text = loaded(rules({**OPERATOR, "trading_fleet": True, "trading_telemetry_port": "8001"}))
    assert "10.77.0.0/16" not in alone
    assert "tcp dport 8001 ip saddr @health_checks_ipv4 goto limited" in text
    sets = {name: text.partition(f"set {name}_ipv4")[2].partition("}")[0] for name in ("operators", "health_checks")}
    assert {name for name, elements in sets.items() if "10.77.0.0/16" in elements} == {"health_checks"}


@pytest.mark.parametrize("role", ["hardening", "aws_network"])
def test_both_firewalls_follow_the_ports_of_orders_market_data_and_telemetry(role: str) -> None:
    ports = {"trading_order_port": "9101", "trading_feed_port": "9102", "trading_telemetry_port": "8001"}
    defaults = yaml.safe_load((ROLE.parent / role / "defaults/main.yml").read_text(encoding="utf-8"))
    jinja = NativeEnvironment()
    jinja.filters["lowlatency.trading.formerly"] = lambda value, *_: value

    def rendered(name: str) -> list[object]:
        given = [str(port) for port in defaults[f"{role}_{name}"]]
        ports_of: list[object] = [jinja.from_string(port).render(**ports) for port in given]
        return ports_of

    assert (rendered("client_ports"), rendered("operator_ports")) == ([9101, 9102], [22, 8001])


@pytest.mark.parametrize("role", ["hardening", "aws_network"])
def test_with_a_certificate_both_firewalls_open_the_ports_of_tls_and_not_the_clear_ones(role: str) -> None:
    defaults = yaml.safe_load((ROLE.parent / role / "defaults/main.yml").read_text(encoding="utf-8"))
    jinja = NativeEnvironment()
    jinja.filters["lowlatency.trading.formerly"] = lambda value, *_: value

    def client_ports(**tls: Any) -> list[object]:
        given = defaults[f"{role}_client_ports"]
        return [jinja.from_string(port).render(trading_order_port=9101, trading_tls=tls) for port in given]

    assert client_ports(certificate="orders.crt", key="orders.key") == [9011, 9012]
    assert client_ports(certificate="orders.crt", key="orders.key", order_port=443, feed_port=444) == [443, 444]
    assert client_ports() == [9101, 9002]


def test_the_tls_proxy_connects_to_no_other_host() -> None:
    given = {"trading_operator_cidr": "198.51.100.7/32", "trading_tls": {"certificate": "a", "key": "b"}}
    made = {"results": [{"item": name, "uid": 995} for name in ("trading-engine", "trading-telemetry", "trading-tls")]}
    made["results"][2]["uid"] = 994
    text = rules({**given, "__hardening_made": made})
    assert "oif != lo meta skuid { 995, 995, 994 } counter name connecting_out" in text


def test_no_user_gets_the_metadata_but_root_and_those_that_publish_and_none_that_only_answers_connects() -> None:
    text = loaded(rules({**OPERATOR, "hardening_metadata_users": "daemon"}))
    assert 'ip daddr 169.254.169.254 meta skuid != { 0, 1 } counter name "instance_metadata" reject' in text
    assert "ip6 daddr fd00:ec2::254 meta skuid != { 0, 1 }" in text
    made = rules({**OPERATOR, "hardening_silent_users": "made,made in check mode"})
    assert "oif != lo meta skuid { 998 } counter name connecting_out" in made
    assert 'oif != "lo" meta skuid 5 counter name "connecting_out"' in text
    assert "tcp flags != syn / fin,syn,rst,ack accept" in text, "what answers a connection is let out"
