"""Inputs that cannot be used are refused, and the error message names the variable. Other inputs are accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import inputs

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBU9nPy1lt3VfO6uJ0mXc1m3vN3b5yq7y1v8bW2Jq3sN me@here"


@pytest.mark.parametrize("name", ["production", "a", "dev-2", "x1"])
def test_a_usable_environment_is_taken(name: str) -> None:
    assert list(inputs.environment_problems(name)) == []


@pytest.mark.parametrize(
    "name", ["", "Production", "dev_2", "-dev", "dev-", "a--b", "2dev", "a" * 25, "dev 2", "dev\n"]
)
def test_an_unusable_environment_is_named(name: str) -> None:
    (problem,) = inputs.environment_problems(name)
    assert problem.startswith("trading_environment:")


@pytest.mark.parametrize("region", ["us-east-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1"])
def test_a_region_is_taken(region: str) -> None:
    assert list(inputs.region_problems(region)) == []


@pytest.mark.parametrize("region", ["", "us-east-1a", "US-EAST-1", "virginia"])
def test_what_is_no_region_is_named(region: str) -> None:
    (problem,) = inputs.region_problems(region)
    assert problem.startswith("trading_region:")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:4566",
        "https://ec2.eu-west-1.amazonaws.com",
        "https://vpce-1.ec2.eu-west-1.vpce.amazonaws.com",
    ],
)
def test_an_endpoint_of_the_region_or_of_no_region_is_taken(url: str) -> None:
    assert list(inputs.endpoint_problems("eu-west-1", url)) == []


@pytest.mark.parametrize("url", ["https://ec2.us-east-1.amazonaws.com", "https://ec2.cn-north-1.amazonaws.com.cn/"])
def test_an_endpoint_of_another_region_is_named(url: str) -> None:
    (problem,) = inputs.endpoint_problems("eu-west-1", url)
    assert problem.startswith("trading_region: eu-west-1")
    assert url in problem


@pytest.mark.parametrize(("count", "problems"), [(1, 0), (40, 0), (0, 1), (-1, 1)])
def test_there_is_at_least_one_host(count: int, problems: int) -> None:
    assert [one.split(":")[0] for one in inputs.count_problems(count)] == ["trading_instance_count"] * problems


def test_spot_hosts_cannot_have_hours() -> None:
    (problem,) = inputs.hours_problems({"stop": "cron(0 19 ? * MON-FRI *)"}, spot=True)
    assert problem.startswith("trading_hours:")
    assert "trading_spot" in problem
    assert list(inputs.hours_problems({}, spot=True)) == []
    assert list(inputs.hours_problems({"stop": "cron(0 19 ? * MON-FRI *)"}, spot=False)) == []


def test_the_operator_must_be_given_but_clients_need_not() -> None:
    (problem,) = inputs.cidr_problems("", [], allow_world=False)
    assert problem.startswith("trading_operator_cidr is not set")
    assert list(inputs.cidr_problems("198.51.100.7/32", [], allow_world=False)) == []


@pytest.mark.parametrize("cidr", ["198.51.100.7/24", "198.51.100.300/32", "2001:db8::/64", "home"])
def test_what_is_no_ipv4_network_is_named_in_either_variable(cidr: str) -> None:
    problems = list(inputs.cidr_problems(cidr, [cidr], allow_world=True))
    assert [problem.split(":")[0] for problem in problems] == ["trading_operator_cidr", "trading_client_cidrs"]


@pytest.mark.parametrize("cidr", ["2001:db8::1/64", "198.51.100.7/32", "home"])
def test_what_is_no_ipv6_network_is_named_in_either_variable(cidr: str) -> None:
    problems = list(inputs.ipv6_cidr_problems([cidr], [cidr], allow_world=True))
    variables = ["trading_operator_ipv6_cidrs", "trading_client_ipv6_cidrs"]
    assert [problem.split(":")[0] for problem in problems] == variables


def test_the_whole_ipv6_world_needs_an_acknowledgement() -> None:
    refused = list(inputs.ipv6_cidr_problems(["::/0"], ["2001:db8::/64", "::/0"], allow_world=False))
    assert len(refused) == 2
    assert all("trading_allow_world=true" in problem for problem in refused)
    assert list(inputs.ipv6_cidr_problems(["::/0"], ["::/0"], allow_world=True)) == []


def test_the_whole_world_needs_an_acknowledgement() -> None:
    refused = list(inputs.cidr_problems("0.0.0.0/0", ["0.0.0.0/0"], allow_world=False))
    assert len(refused) == 2
    assert all("trading_allow_world=true" in problem for problem in refused)
    assert list(inputs.cidr_problems("0.0.0.0/0", ["0.0.0.0/0"], allow_world=True)) == []


@pytest.mark.parametrize(
    ("vpc", "subnet", "variables"),
    [
        ("10.0.0.0/16", "10.0.1.0/24", []),
        ("10.0.0.0/8", "10.0.1.0/24", ["trading_vpc_cidr"]),
        ("10.0.0.0/16", "10.0.1.0/29", ["trading_subnet_cidr"]),
        ("10.0.0.0/16", "10.1.1.0/24", ["trading_subnet_cidr"]),
        ("ten", "10.1.1.0/24", ["trading_vpc_cidr"]),
    ],
)
def test_the_address_plan_must_suit_ec2(vpc: str, subnet: str, variables: list[str]) -> None:
    assert [problem.split(":")[0] for problem in inputs.network_problems(vpc, subnet)] == variables


def test_a_public_key_is_taken() -> None:
    assert list(inputs.public_key_problems("key.pub", ED25519 + "\n")) == []


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("", None, "is not set"),
        ("gone.pub", None, "gone.pub cannot be read"),
        ("key", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "is a private key"),
        ("key.pub", "", "holds 'nothing'"),
        ("key.pub", "ecdsa-sha2-nistp256 AAAA", "ssh-ed25519 and ssh-rsa keys only"),
        ("key.pub", "ssh-ed25519 AAAA!", "is damaged"),
        ("key.pub", "ssh-ed25519", "is damaged"),
        ("key.pub", ED25519.replace("ssh-ed25519", "ssh-rsa", 1), "is damaged"),
    ],
)
def test_what_is_no_usable_public_key_is_named(path: str, text: str | None, words: str) -> None:
    (problem,) = inputs.public_key_problems(path, text)
    assert problem.startswith("trading_public_key_file")
    assert words in problem


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"aws:x": "1"}, "begins with aws:"),
        ({"Environment": "mine"}, "is set by this collection"),
        ({"": "1"}, "is not 1 to 128"),
        ({"a|b": "1"}, "is not 1 to 128"),
        ({"Team": "x" * 257}, "the value of Team"),
        ({"Team": "a\x00"}, "the value of Team"),
        ({f"k{number}": "v" for number in range(47)}, "47 tags are more than the 46"),
    ],
)
def test_a_tag_that_aws_refuses_is_named(tags: dict[str, str], words: str) -> None:
    (problem,) = inputs.tag_problems(tags)
    assert problem.startswith("trading_tags")
    assert words in problem


def test_ordinary_tags_are_taken() -> None:
    assert list(inputs.tag_problems({"Team": "Märkte + Handel", "cost-centre": "4711"})) == []


def test_the_module_reports_every_problem_at_once(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    key = tmp_path / "key.pub"
    key.write_text(ED25519)
    usable = {
        "environment": "demo",
        "region": "us-east-1",
        "instance_count": 1,
        "operator_cidr": "198.51.100.7/32",
        "client_cidrs": [],
        "allow_world": False,
        "vpc_cidr": "10.77.0.0/16",
        "subnet_cidr": "10.77.1.0/24",
        "public_key_file": str(key),
        "tags": {},
    }
    assert run_module("deployment_inputs", **usable)["changed"] is False
    wrong = {"region": "moon", "operator_cidr": "", "public_key_file": "", "spot": True, "hours": {"stop": "…"}}
    report = run_module("deployment_inputs", **{**usable, **wrong, "operator_ipv6_cidrs": ["::/0"]})
    assert report["failed"] is True
    assert len(report["problems"]) == 5
