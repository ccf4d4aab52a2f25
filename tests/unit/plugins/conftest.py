"""Run a module as Ansible does: arguments in, one JSON object out. AWS modules use an account in this process."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

RunModule = Callable[..., dict[str, Any]]
# Gives a client of a service.
Account = Callable[[str], Any]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunModule:
    """Return a function that runs a module of this collection in this process and returns what it reported.

    A module that fails reports `failed: true`; `check=True` runs it in check mode.
    """

    # Ansible takes a process for a controller once a filter's test imported one; a module reports its warnings itself.
    monkeypatch.setattr("ansible.module_utils._internal.is_controller", False)

    def run(name: str, /, check: bool = False, **arguments: object) -> dict[str, Any]:
        module = importlib.import_module(f"ansible_collections.lowlatency.trading.plugins.modules.{name}")
        capsys.readouterr()
        # Ansible keeps the warnings of a process, which for a module is one run.
        monkeypatch.setattr("ansible.module_utils.common.warnings._global_warnings", {})
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            module.main()
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        json.dumps(report, ensure_ascii=False).encode()  # Ansible takes no result with half of a character in it
        return report

    return run


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Let every AWS client of this process use an empty account of moto, whatever the environment variables are."""
    # Imported here, because most tests of this folder need no AWS, and moto takes a second to import.
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
    """Run a module in check mode (which must not change `look()`), for real, and again; report the real run."""
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
