"""Modules that find the Linux users of people, and tell which of these users must be closed.

A user of a person who is no longer in the list must be closed. An integration test checks on a machine that the
sessions of closed users end.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import people_ended, people_info

from tests.unit.plugins.conftest import RunModule


def observe(made: Path, *names: str) -> dict[str, list[str]]:
    return people_info.observe(str(made), list(names), [], {}, "/nowhere")


def test_an_account_that_nobody_made_for_people_is_somebody_elses(tmp_path: Path) -> None:
    made = tmp_path / "people.json"
    assert observe(made, "root", "daemon", "no-such")["foreign"] == ["daemon", "root"]
    made.write_text(json.dumps(["daemon", "gone", "gone"]))
    seen = observe(made, "daemon", "no-such")
    assert seen == {"made": ["daemon", "gone"], "foreign": [], "left": ["gone"], "reduced": []}


def test_a_group_is_a_name_too(tmp_path: Path) -> None:
    assert observe(tmp_path / "none", "tty")["foreign"] == ["tty"]


@pytest.mark.parametrize(
    ("kept", "declared", "groups", "loses"),
    [
        ("# ours\nold\n", ["old"], ["staff", "more"], False),
        ("# ours\nold\n", ["old \n", "new"], ["staff"], False),
        ("# ours\nold\nnew\n", ["new"], ["staff"], True),
        ("# ours\nold\n", ["old"], [], True),
        (None, ["old"], ["staff"], True),
        ("ssh-ed25519 AAAA anna@old\n", ["ssh-ed25519 AAAA  anna@new"], ["staff"], False),
        ("ssh-ed25519 AAAA anna@old\n", ["ssh-ed25519 BBBB anna@old"], ["staff"], True),
        ("ssh-ed25519 AAAA\ncommand=x ssh-ed25519 AAAA\n", ["ssh-ed25519 AAAA"], ["staff"], True),
        ("ssh-ed25519 AAAA Zo\xeb\n", ["ssh-ed25519 AAAA Zo\xeb"], ["staff"], False),
    ],
)
def test_who_has_a_key_or_a_group_too_much_loses_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: str | None,
    declared: list[str],
    groups: list[str],
    loses: bool,
) -> None:
    if kept is not None:
        (tmp_path / "anna").write_text(kept, encoding="latin-1")  # a user may have edited it
    made = tmp_path / "people.json"
    made.write_text('["anna", "gone"]')
    # No user is created on this machine. These functions report one instead.
    account = pwd.struct_passwd(("anna", "*", 1000, 1000, "", "/home/anna", "/bin/bash"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [account])
    monkeypatch.setattr(grp, "getgrall", lambda: [grp.struct_group(("staff", "*", 50, ["anna"]))])
    people = [{"name": name, "role": "observer", "keys": declared} for name in ("anna", "gone", "new")]
    names = ["anna", "gone", "new"]
    seen = people_info.observe(str(made), names, people, {"observer": groups}, str(tmp_path))
    assert seen["reduced"] == (["anna"] if loses else [])


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


def test_a_kept_account_loses_key_and_sessions_only() -> None:
    observed = people_ended.Observed(uid=1000, has_keys=True, is_closed=False, has_processes=True)
    assert people_ended.plan(observed, "kept") == ["keys removed", "processes ended"]
    assert people_ended.plan(observed, "closed") == ["keys removed", "account closed", "processes ended"]
    assert people_ended.plan(observed, "removed")[-1] == "account removed"


def test_who_runs_the_play_keeps_key_and_sessions(
    tmp_path: Path, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "anna").touch()
    monkeypatch.setenv("SUDO_USER", "anna")
    report = run_module("people_ended", names=["anna"], keys=str(tmp_path), account="kept")
    assert (report["changed"], report["spared"]) == (False, ["anna"])
    assert (tmp_path / "anna").exists()


def test_in_check_mode_a_key_stays(tmp_path: Path, run_module: RunModule) -> None:
    (tmp_path / "no-such").touch()
    report = run_module("people_ended", check=True, names=["no-such"], keys=str(tmp_path))
    assert report["actions"] == ["no-such: keys removed"]
    assert (tmp_path / "no-such").exists()
    assert run_module("people_ended", names=["no-such"], keys=str(tmp_path))["changed"]
    assert not (tmp_path / "no-such").exists()
