"""The CloudFormation template. AWS's linter finds nothing wrong in it.

A deleted stack leaves its log group. A new stack of the same name can still be created.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cfnlint.api import lint_file  # type: ignore[import-untyped]

from tests.unit.plugins.conftest import Account

TEMPLATE = Path(__file__).parents[3] / "files/cloudformation/trading-host.yml"


def test_the_template_is_valid() -> None:
    assert [f"line {match.linenumber}: {match.message}" for match in lint_file(TEMPLATE)] == []


@pytest.mark.filterwarnings("ignore:Tried to parse")  # moto cannot create the key pair
def test_a_stack_is_made_beside_the_log_group_that_an_earlier_one_left(account: Account) -> None:
    logs, stacks = account("logs"), account("cloudformation")
    logs.create_log_group(logGroupName="/trading/demo/host")
    given = {
        "Environment": "demo",
        "PublicKey": "ssh-ed25519 AAAA",
        "OperatorCidr": "198.51.100.7/32",
        "AvailabilityZone": "us-east-1a",
        "LogGroup": "existing",
    }

    listed = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
    stack = stacks.create_stack(
        StackName="demo",
        TemplateBody=TEMPLATE.read_text(),
        Parameters=listed,
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    (made,) = stacks.describe_stacks(StackName=stack["StackId"])["Stacks"]
    assert made["StackStatus"] == "CREATE_COMPLETE"
