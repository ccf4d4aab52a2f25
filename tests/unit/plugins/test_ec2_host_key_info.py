"""The module ec2_host_key_info reads the SSH host keys of instances from their consoles.

It waits until the keys are there, and gives up after a limit. When EC2 has no newest output, the module reads the older
output.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import ec2_host_key_info as module
from botocore.stub import Stubber

from .conftest import RunModule
from .stubs import stubbed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"
BOOTED = f"-----BEGIN SSH HOST KEY KEYS-----\r\n{KEY} root@host\r\n-----END SSH HOST KEY KEYS-----\r\n"


def console(stub: Stubber, instance_id: str, text: str | None, latest: bool = True) -> None:
    """Let the stub answer as EC2 does.

    The output is in base64. Before the console has its first line, the answer contains no output.
    """
    output = {} if text is None else {"Output": base64.b64encode(text.encode()).decode()}
    asked = {"InstanceId": instance_id, **({"Latest": True} if latest else {})}
    stub.add_response("get_console_output", {"InstanceId": instance_id, **output}, asked)


def read(run_module: RunModule, *instance_ids: str, wait_seconds: int) -> dict[str, Any]:
    arguments = {"instance_ids": list(instance_ids), "wait_seconds": wait_seconds}
    return run_module("ec2_host_key_info", region="us-east-1", **arguments)


def test_only_the_machines_without_a_key_yet_are_asked_again(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0)
    with stubbed(monkeypatch, "ec2") as stubs:
        console(stubs["ec2"], "i-1", BOOTED)
        for text in (None, "[    1.2] booting", BOOTED):
            console(stubs["ec2"], "i-2", text)
        report = read(run_module, "i-1", "i-2", wait_seconds=3600)
    assert (report["host_keys"], report["changed"]) == ({"i-1": KEY, "i-2": KEY}, False)


def test_a_machine_without_a_key_is_left_out_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    with stubbed(monkeypatch, "ec2") as stubs:
        console(stubs["ec2"], "i-1", BOOTED)
        console(stubs["ec2"], "i-2", None)
        assert read(run_module, "i-1", "i-2", wait_seconds=0)["host_keys"] == {"i-1": KEY}


def test_where_there_is_no_newest_output_the_older_is_read(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    with stubbed(monkeypatch, "ec2") as stubs:
        stubs["ec2"].add_client_error("get_console_output", "UnsupportedOperation")
        console(stubs["ec2"], "i-1", BOOTED, latest=False)
        assert read(run_module, "i-1", wait_seconds=0)["host_keys"] == {"i-1": KEY}


def test_another_refusal_is_an_error(monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> None:
    with stubbed(monkeypatch, "ec2") as stubs:
        stubs["ec2"].add_client_error("get_console_output", "InvalidInstanceID.NotFound", "no such instance")
        report = read(run_module, "i-1", wait_seconds=3600)
    assert report["msg"].startswith("Cannot read the console output in region us-east-1: no such instance")
