"""Which accounts are people's, and when one is closed. That sessions end is shown on a machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import people_ended, people_info

from tests.unit.plugins.conftest import RunModule


def test_an_account_that_nobody_made_for_people_is_somebody_elses(tmp_path: Path) -> None:
    made = tmp_path / "people.json"
    assert people_info.observe(str(made), ["root", "daemon", "no-such"])["foreign"] == ["daemon", "root"]
    made.write_text(json.dumps(["daemon", "gone", "gone"]))
    seen = people_info.observe(str(made), ["daemon", "no-such"])
    assert seen == {"made": ["daemon", "gone"], "foreign": [], "left": ["gone"]}


def test_a_group_is_a_name_too(tmp_path: Path) -> None:
    assert people_info.observe(str(tmp_path / "none"), ["tty"])["foreign"] == ["tty"]


@pytest.mark.parametrize("content", ["{}", "[7]", "[", ""])
def test_a_list_of_accounts_that_somebody_damaged_is_named(tmp_path: Path, run_module: RunModule, content: str) -> None:
    made = tmp_path / "people.json"
    made.write_text(content)
    report = run_module("people_info", made=str(made))
    assert report["failed"]
    assert report["msg"].startswith(str(made))


def test_the_processes_of_a_user_are_found() -> None:
    assert os.getpid() in people_ended.processes_of(os.getuid())
    assert os.getpid() not in people_ended.processes_of(4_000_000)
    assert people_ended.uids_of("Name:\tUid:\nUid:\t1\t2\t3\t1\nGid:\t9\t9\t9\t9\n") == {1, 2, 3}
    assert people_ended.uids_of("") == set()


@pytest.mark.parametrize(
    ("account", "closed"),
    [
        (("anna", "/usr/sbin/nologin", "1", ["anna"]), True),
        (("anna", "/bin/bash", "1", ["anna"]), False),
        (("anna", "/usr/sbin/nologin", "", ["anna"]), False),
        (("anna", "/usr/sbin/nologin", "1", ["anna", "trading-observer"]), False),
    ],
)
def test_an_account_is_closed_when_it_lets_nobody_in_and_gives_no_right(account: Any, closed: bool) -> None:
    assert people_ended.is_closed(*account) is closed


def test_what_is_not_there_is_ended_and_root_never(tmp_path: Path, run_module: RunModule) -> None:
    report = run_module("people_ended", names=["no-such"], keys=str(tmp_path))
    assert (report["changed"], report["actions"]) == (False, [])
    assert run_module("people_ended", names=["root"], keys=str(tmp_path))["failed"]


def test_in_check_mode_a_key_stays(tmp_path: Path, run_module: RunModule) -> None:
    (tmp_path / "no-such").touch()
    report = run_module("people_ended", check=True, names=["no-such"], keys=str(tmp_path))
    assert report["actions"] == ["no-such: keys removed"]
    assert (tmp_path / "no-such").exists()
    assert run_module("people_ended", names=["no-such"], keys=str(tmp_path))["changed"]
    assert not (tmp_path / "no-such").exists()
