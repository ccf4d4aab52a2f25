"""The role aws_schedule starts and stops development hosts at given hours.

Its schedules are made, changed, left unchanged, and removed when `trading_hours` is no longer given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Account, Run
from .inventory_of_account import contents

HOURS = {"start": "cron(0 7 ? * MON-FRI *)", "stop": "cron(0 19 ? * MON-FRI *)", "timezone": "Europe/Berlin"}
NAME = "trading-demo-hours"


@pytest.fixture
def play_file(tmp_path: Path) -> Path:
    """Write a playbook that runs only the role aws_schedule, after the module whose result the role needs."""
    look = {
        "name": "List what exists",
        "lowlatency.trading.deployment_info": {"environment": "demo", "region": "us-east-1"},
        "register": "aws_preflight_deployment",
    }
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "trading_environment": "demo",
            "aws_instance_hosts": [{"instance_id": "i-0123456789abcdef0"}],
        },
        "tasks": [look, {"name": "Hours", "ansible.builtin.import_role": {"name": "lowlatency.trading.aws_schedule"}}],
    }
    (tmp_path / "collections").symlink_to(ROOT / "collections")
    path = tmp_path / "hours.yml"
    path.write_text(yaml.safe_dump([play]))
    return path


def schedules(account: Account) -> dict[str, dict[str, Any]]:
    """Return the environment's schedules by their names."""
    scheduler = account.client("scheduler")
    names = [one["Name"] for one in scheduler.list_schedules(NamePrefix=NAME)["Schedules"]]
    return {name: scheduler.get_schedule(Name=name) for name in names}


def test_hosts_are_started_and_stopped_in_time_until_that_is_wanted_no_more(account: Account, play_file: Path) -> None:
    before = contents(account)

    def play(hours: dict[str, str], *arguments: str) -> Run:
        run = account.play(str(play_file), "-e", json.dumps({"trading_hours": hours}), *arguments)
        assert run.code == 0, run.output
        return run

    assert play(HOURS, "--check").changed > 0
    assert contents(account) == before
    assert play(HOURS).changed == 3
    made = schedules(account)
    assert {name: one["ScheduleExpression"] for name, one in made.items()} == {
        f"{NAME}-start": HOURS["start"],
        f"{NAME}-stop": HOURS["stop"],
    }
    stop = made[f"{NAME}-stop"]["Target"]
    assert stop["Arn"] == "arn:aws:scheduler:::aws-sdk:ec2:stopInstances"
    assert json.loads(stop["Input"]) == {"InstanceIds": ["i-0123456789abcdef0"]}
    assert stop["RoleArn"].endswith(f":role/lowlatency-trading/demo/{NAME}")
    assert play(HOURS).changed == 0

    assert play({**HOURS, "stop": "cron(0 20 ? * MON-FRI *)"}).changed == 1
    assert schedules(account)[f"{NAME}-stop"]["ScheduleExpression"] == "cron(0 20 ? * MON-FRI *)"
    assert play({}).changed == 2
    assert schedules(account) == {}
    assert contents(account) == before
