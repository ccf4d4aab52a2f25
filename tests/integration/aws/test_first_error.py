"""What a user reads first when an input or the account does not work: what, where, what to do; and nothing was made."""

from __future__ import annotations

import dataclasses

import pytest

from .conftest import Account, Keys
from .inventory_of_account import contents


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"trading_operator_cidr": ""}, ["trading_operator_cidr is not set", "checkip.amazonaws.com"]),
        ({"trading_operator_cidr": "0.0.0.0/0"}, ["trading_operator_cidr: 0.0.0.0/0", "trading_allow_world=true"]),
        ({"trading_public_key_file": ""}, ["trading_public_key_file is not set", "ssh-keygen"]),
        ({"trading_environment": "Prod_1"}, ["trading_environment: 'Prod_1'"]),
        ({"trading_instance_type": "c6g.mediun"}, ["trading_instance_type: c6g.mediun is not offered in us-east-1"]),
    ],
)
def test_an_unusable_input_is_refused_by_name_before_the_first_resource(
    account: Account, variables: dict[str, str], words: list[str]
) -> None:
    before = contents(account)
    run = account.play("provision.yml", **{"trading_environment": "refused", **variables})
    assert run.code != 0
    first = run.output[run.output.index("[ERROR]") :].splitlines()[0]
    for word in words:
        assert word in first
    assert "Traceback" not in run.output
    assert contents(account) == before


def test_an_endpoint_that_nobody_answers_at_is_named(account: Account) -> None:
    nobody = dataclasses.replace(account, url="http://127.0.0.1:9")
    run = nobody.play("provision.yml", trading_environment="refused")
    assert run.code != 0
    first = run.output[run.output.index("[ERROR]") :].splitlines()[0]
    for word in ("Cannot ask AWS who is calling in region us-east-1", "http://127.0.0.1:9", "AWS_ENDPOINT_URL"):
        assert word in first
    assert "Traceback" not in run.output


def test_credentials_that_aws_does_not_know_are_named(account: Account) -> None:
    stranger = dataclasses.replace(account, deployer=Keys("AKIAIOSFODNN7EXAMPLE", "wrong"))
    run = stranger.play("provision.yml", trading_environment="refused")
    assert run.code != 0
    first = run.output[run.output.index("[ERROR]") :].splitlines()[0]
    for word in (
        "Cannot ask AWS who is calling in region us-east-1",
        "AWS does not know this access key",
        "AWS_PROFILE",
    ):
        assert word in first
    assert "Traceback" not in run.output
