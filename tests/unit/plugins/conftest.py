"""Runs the collection's modules as Ansible does: a module gets arguments and prints one JSON object.

Modules of AWS use an AWS account that moto emulates in this process.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from tests import descriptions

RunModule = Callable[..., dict[str, Any]]
# A function. It returns a boto3 client for the AWS service with this name.
Account = Callable[[str], Any]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunModule:
    """Return a function that runs a module in this process, and returns the module's report.

    The report of a failed module contains `failed: true`. With `check=True` the module runs in check mode.
    """

    # When a test imports a filter, Ansible takes this process for the controller. A module would then not report its
    # own warnings.
    monkeypatch.setattr("ansible.module_utils._internal.is_controller", False)
    descriptions.share(monkeypatch)

    def run(name: str, /, check: bool = False, **arguments: object) -> dict[str, Any]:
        module = importlib.import_module(f"ansible_collections.lowlatency.trading.plugins.modules.{name}")
        capsys.readouterr()
        # Ansible collects a process's warnings, and expects that the process runs only one module.
        monkeypatch.setattr("ansible.module_utils.common.warnings._global_warnings", {})
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            module.main()
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        json.dumps(report, ensure_ascii=False).encode()  # fails on half of a character, as Ansible would
        return report

    return run


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Let all AWS clients of this process use an empty AWS account in moto.

    Remove the environment variables of AWS clients. Yield a function that returns a boto3 client for a service.
    """
    # The import of moto takes a second, and most tests of this folder need no AWS.
    import boto3
    from embedded_ec2.hooks import Hooks
    from embedded_ec2.patches import (
        autoscaling_groups,
        cloudwatch_alarms,
        ec2_default_key,
        ec2_launch_templates,
        ec2_machines,
        ec2_placement_groups,
        elbv2_balancers,
    )
    from moto import mock_aws

    autoscaling_groups.install(Hooks())
    cloudwatch_alarms.install(Hooks())
    ec2_default_key.install(Hooks())
    ec2_launch_templates.install(Hooks())
    ec2_machines.install(Hooks())
    ec2_placement_groups.install(Hooks())
    elbv2_balancers.install(Hooks())
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with mock_aws():
        yield lambda service: boto3.client(service, region_name="us-east-1")


def apply_thrice(run: RunModule, look: Callable[[], object], name: str, /, **arguments: object) -> dict[str, Any]:
    """Run a module in check mode, then normally, then once more. Return the report of the normal run.

    `look` returns the state that the module manages. This state may change only in the normal run. The last run must
    report no change.
    """
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
