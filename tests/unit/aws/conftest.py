"""The AWS modules' tests run modules as those of the other plugins do, some against an account in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import (
    autoscaling_hooks,
    cloudwatch_alarms,
    ec2_default_key,
    ec2_launch_templates,
    ec2_placement_groups,
    elbv2_network_balancers,
)
from moto import mock_aws

from tests.unit.plugins.conftest import RunModule, run_module

__all__ = ["Account", "RunModule", "account", "apply_thrice", "run_module"]

# Gives a client of a service.
Account = Callable[[str], Any]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Let every AWS client of this process use an empty account of moto's, whatever the environment says."""
    autoscaling_hooks.install(Hooks())
    cloudwatch_alarms.install(Hooks())
    ec2_default_key.install(Hooks())
    ec2_launch_templates.install(Hooks())
    ec2_placement_groups.install(Hooks())
    elbv2_network_balancers.install(Hooks())
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with mock_aws():
        yield lambda service: boto3.client(service, region_name="us-east-1")


def apply_thrice(run: RunModule, look: Callable[[], object], name: str, /, **arguments: object) -> dict[str, Any]:
    """Run a module in check mode, which makes nothing that `look` sees, for real and again; report the real run."""
    before = look()
    checked = run(name, check=True, region="us-east-1", **arguments)
    assert look() == before
    real = run(name, region="us-east-1", **arguments)
    after = look()
    again = run(name, region="us-east-1", **arguments)
    assert look() == after
    assert [report.get("changed") for report in (checked, real, again)] == [True, True, False], real
    assert checked["diff"] == real["diff"]
    return real
