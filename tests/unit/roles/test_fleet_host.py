"""What a host of an Auto Scaling group does at its first boot.

The tests run the script that the host runs. AWS's answers are fakes, which can change from one call to the next.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/aws_fleet/files/ready.py"
KEYS = {"AccessKeyId": "AKIA", "SecretAccessKey": "secret", "Token": "token"}
FREE = "<volumeSet><item><volumeId>vol-1</volumeId><attachmentSet/></item></volumeSet>"
OURS = "<volumeSet><item><volumeId>vol-1</volumeId><instanceId>i-1</instanceId></item></volumeSet>"


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module. Its pauses take no time."""
    spec = importlib.util.spec_from_file_location("ready", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ready", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: None)
    return module


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Return the script's settings for a host whose image already contains all units."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/commands\n')
    systemctl.chmod(0o755)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_text("/dev/a / ext4 defaults 0 1\n")
    names = {"partition": "alpha", "environment": "demo", "region": "us-east-1", "volume": "v", "group": "g"}
    more = {"hook": "ready", "hook_seconds": 900, "metadata": "http://metadata", "endpoint": "http://aws"}
    return {**names, **more, "systemctl": str(systemctl), "root": str(tmp_path)}


def answers(refuse: Callable[[str], None], roles: list[str]) -> tuple[list[str], Callable[..., str]]:
    """Return an empty list, and a fake of the script's function `fetch`, which sends requests to AWS.

    The fake adds the name of each requested action to the list. Then it calls `refuse`, which can raise an exception.
    """
    asked: list[str] = []
    attached: list[str] = []

    def fetch(url: str, data: bytes | None = None, headers: object = None, method: str = "") -> str:
        if data is None:
            fixed = {"instance-id": "i-1", "availability-zone": "us-east-1a", "token": "t", "role": json.dumps(KEYS)}
            return fixed[url.rpartition("/")[2]] if not url.endswith("/") else roles.pop(0) if roles else "role"
        action = dict(parse_qsl(data.decode()))["Action"]
        asked.append(action)
        refuse(action)
        if action == "AttachVolume":
            attached.append(action)
        return OURS if attached else FREE

    return asked, fetch


@pytest.mark.parametrize(
    ("failing", "failure"),
    [
        ("AttachVolume", RuntimeError("IncorrectState")),
        ("DescribeVolumes", RuntimeError("RequestLimitExceeded")),
        ("DescribeVolumes", OSError("Name or service not known")),
        ("CompleteLifecycleAction", RuntimeError("Throttling")),
    ],
    ids=lambda value: str(value),
)
def test_a_failure_that_passes_is_tried_again(
    ready: ModuleType, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, failing: str, failure: Exception
) -> None:
    left = [failure]

    def refuse(action: str) -> None:
        if action == failing and left:
            raise left.pop()

    asked, fetch = answers(refuse, ["", "role"])
    monkeypatch.setattr(ready, "fetch", fetch)
    ready.main(settings)
    assert asked[-1] == "CompleteLifecycleAction"
    assert asked.count(failing) > 1
    commands = (Path(settings["root"]) / "commands").read_text(encoding="utf-8").splitlines()
    assert commands[:2] == ["daemon-reload", "start var-lib-trading.mount"]
    # Do not wait for the start, because an engine with a long journal needs minutes to replay it.
    assert "start --no-block trading-engine@alpha.service" in commands


def test_a_missing_volume_is_final(
    ready: ModuleType, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _asked, fetch = answers(lambda _action: None, [])
    monkeypatch.setattr(ready, "fetch", lambda *given, **more: "" if given[1:] and given[1] else fetch(*given, **more))
    with pytest.raises(ready.MissingVolumeError, match="us-east-1a has no volume v"):
        ready.main(settings)


def test_the_time_of_the_hook_ends_the_attempts(
    ready: ModuleType, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_action: str) -> None:
        raise RuntimeError("No active Lifecycle Action found")

    asked, fetch = answers(refuse, [])
    monkeypatch.setattr(ready, "fetch", fetch)
    with pytest.raises(RuntimeError, match="No active"):
        ready.main({**settings, "hook_seconds": 0})
    assert asked == ["DescribeVolumes"]
