"""The engine switches to another release. When the new release has a fault, the engine returns to the previous one.

The engines and the client are real processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.release import copied
from ansible_collections.lowlatency.trading.plugins.modules import release_switch, release_trial
from trading_engine.wire import ouch

from tests.unit.engine.process import Client
from tests.unit.engine.releases import FAULTS, HANGS, NO_LOGIN, OTHER_REPLIES, STAYS, Host

RunModule = Callable[..., dict[str, Any]]
PAR = 1_000_000
# With each of these faults, the module release_switch runs the same code as in another test of this file. The error
# messages belong to the engine and are tested there.
SAME_PATH = ("makes another state", "rejects every login", "opens order entry at once")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Yield a host whose engine runs the release `old`. The account ANNA has one resting order, A."""
    made = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{made.programs}{os.pathsep}{os.environ['PATH']}")
    made.install("old")
    made.start("old")
    with contextlib.closing(Client(made.engine.port)) as client:
        client.send(ouch.EnterOrder("A", "B", 10, "TEST", PAR))
        client.wait_for(2)
    yield made
    made.end()


@pytest.fixture
def switch(run_module: RunModule, host: Host) -> RunModule:
    def run(check: bool = False, **more: object) -> dict[str, Any]:
        account = {"account": "BERT", "password_file": str(host.password), "limit_s": 60}
        return run_module("release_switch", check, **host.arguments, **{"release": "new", **account, **more})

    return run


@pytest.fixture
def trial(run_module: RunModule, host: Host) -> RunModule:
    def run(**more: object) -> dict[str, Any]:
        return run_module(
            "release_trial", **host.arguments, **{"release": "new", "cpus": [0], "reserve_bytes": 0, **more}
        )

    return run


def test_a_release_that_does_the_same_goes_on_with_every_order(host: Host, trial: RunModule, switch: RunModule) -> None:
    host.install("new")
    tried = trial()
    assert (tried.get("msg"), tried["running"], tried["changed"]) == (None, "old", False)
    assert tried["messages"] >= 1
    assert not (host.engine.directory / "journal" / copied.NAME).exists()

    assert switch(check=True)["changed"]
    assert host.linked("current") == "old"
    with contextlib.closing(Client(host.engine.port, sequence=1)) as told:
        changed = switch()
        assert (changed.get("msg"), changed["release"], changed["before"]) == (None, "new", "old")
        told.wait(lambda: told.ended)
        before = told.messages
    assert (host.linked("current"), host.linked("previous")) == ("new", "old")
    with contextlib.closing(Client(host.engine.port, sequence=1)) as client:
        client.wait_for(2)
        client.send(ouch.CancelOrder("A", 0), ouch.EnterOrder("B", "B", 10, "TEST", PAR))
        cancelled, accepted = client.wait_for(4)[2:]
        assert isinstance(cancelled, ouch.Canceled)
        assert isinstance(accepted, ouch.Accepted)
        assert client.messages[: len(before)] == before
    assert not switch()["changed"]
    assert (trial()["records"], trial()["running"]) == (0, "new")


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[pytest.mark.proof] if fault in SAME_PATH else []) for fault in FAULTS]
)
def test_a_release_that_does_not_pass_gives_way_to_the_one_before(host: Host, switch: RunModule, fault: str) -> None:
    planted, reason = FAULTS[fault]
    host.install("new", planted)
    refused = switch(limit_s=3 if planted == HANGS else 60)
    assert reason in refused["msg"], refused["msg"]
    assert "Release old runs again and takes orders; the new one took none" in refused["msg"]
    assert refused["release"] == host.linked("current") == "old"
    assert host.linked("previous") == ""
    with contextlib.closing(Client(host.engine.port, sequence=1)) as client:
        client.wait_for(2)
        client.send(ouch.EnterOrder("B", "B", 10, "TEST", PAR))
        assert [message.token for message in client.wait_for(3)[1:]] == ["A", "B"]


def test_a_link_that_cannot_be_made_leaves_the_engine_running_and_the_message_says_how(
    host: Host, switch: RunModule
) -> None:
    in_the_way = host.root / ".current.new"
    in_the_way.mkdir()
    host.install("new")
    msg = switch()["msg"]
    assert str(in_the_way) in msg
    assert "Release old runs again and takes orders; the new one took none" in msg
    assert (host.linked("current"), host.linked("previous")) == ("old", "")
    in_the_way.rmdir()
    started = f"if sys.argv[1] == '--config': import os; os.makedirs({str(in_the_way)!r}, exist_ok=True)"
    host.install("newer", f"{started}\n{NO_LOGIN}")
    msg = switch(release="newer")["msg"]
    assert f"{host.root}/current does not lead to release old: " in msg
    assert "Release newer runs, and order entry is closed: `trading-engine admin" in msg
    assert host.systemctl("show") != "0"


def test_a_release_whose_order_entry_cannot_be_opened_runs_on_and_the_message_says_how(
    host: Host, switch: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(release_switch, "write_down", lambda release, before, **_: written.append((release, before)))
    host.install("new", STAYS)
    refused = switch()
    msg = refused["msg"]
    closed = host.engine.directory / "journal/order-entry-closed"
    assert "release new passed its gate and may have taken orders, but open-entry failed: release new, admin: " in msg
    assert f"{closed.name}: Is a directory" in msg
    assert "Release new runs, and order entry is closed: `trading-engine admin" in msg
    assert (refused["release"], host.linked("current"), host.linked("previous")) == ("new", "new", "old")
    assert written == [("new", "old")]
    with contextlib.closing(Client(host.engine.port, sequence=1)) as client:
        client.wait_for(2)
        client.send(ouch.EnterOrder("B", "B", 10, "TEST", PAR))
        assert isinstance(client.wait_for(3)[2], ouch.Rejected)
        assert "order entry is closed already" in switch()["msg"]
        # Repair the cause. Then run the command that the error message names.
        closed.rmdir()
        (command,) = re.findall(r"`(trading-engine admin [^`]* open-entry)`", msg)
        subprocess.run([host.root / "current/bin" / command.split()[0], *command.split()[1:]], check=True)
        client.send(ouch.EnterOrder("C", "B", 10, "TEST", PAR))
        assert isinstance(client.wait_for(4)[3], ouch.Accepted)
        again = switch()
        assert (again.get("msg"), again["changed"]) == (None, False)


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        (OTHER_REPLIES, "gives other replies to ANNA, feed, state. Nothing was touched"),
        ("from trading_engine.storage import journal; journal.MAGIC = b'another'", "not a journal segment"),
        ("sys.exit('planted')", "planted"),
    ],
)  # fmt: skip
def test_a_release_that_does_otherwise_on_the_copy_is_refused(
    host: Host, trial: RunModule, planted: str, reason: str
) -> None:
    host.install("new", planted)
    process = host.systemctl("show")
    assert reason in trial()["msg"]
    assert host.systemctl("show") == process
    assert host.linked("current") == "old"
    assert not (host.engine.directory / "journal" / copied.NAME).exists()


def test_what_cannot_work_is_refused_before_anything_is_touched(
    host: Host, trial: RunModule, switch: RunModule
) -> None:
    host.install("new")
    process = host.systemctl("show")
    assert "Make room, or a larger volume" in trial(reserve_bytes=1 << 60)["msg"]
    assert "or the engine takes no orders meanwhile" in trial(budget_bytes=20 << 60)["msg"]
    assert "does not exist, so the gate has no account" in switch(password_file="/nowhere")["msg"]
    with contextlib.closing(Client(host.engine.port)):
        assert "clients are connected (1)" in switch(clients="gone")["msg"]
    host.engine.directory.joinpath("journal/order-entry-closed").touch()
    host.systemctl("restart")
    assert "order entry is closed already" in switch()["msg"]
    host.systemctl("stop")
    assert "runs no release" in switch()["msg"]
    assert "runs no release" in trial()["msg"]
    assert (host.linked("current"), host.systemctl("show")) == ("old", "0")
    assert process != "0"


def test_a_release_that_was_put_in_force_without_a_restart_is_gone_back_from(host: Host, switch: RunModule) -> None:
    planted, reason = FAULTS["rejects every login"]
    host.install("new", planted)
    for link, release in (("current", "new"), ("previous", "old")):
        (host.root / link).unlink(missing_ok=True)
        (host.root / link).symlink_to(f"releases/{release}")
    msg = switch()["msg"]
    assert reason in msg
    assert "Release old runs again" in msg
    assert (host.linked("current"), host.linked("previous")) == ("old", "old")


@pytest.mark.parametrize(
    ("names", "linked", "copied_"),
    [
        (["000000000001.journal"], [], ["000000000001.journal"]),
        (["lock", "replies", "spare"], [], []),
        (
            [f"{number:012d}.{kind}" for number in (3, 4, 5) for kind in ("journal", "snapshot")][:-1],
            ["000000000004.snapshot", "000000000004.journal"],
            ["000000000005.journal"],
        ),
        (["000000000002.snapshot", "000000000001.journal"], ["000000000002.snapshot"], []),
    ],
)
def test_only_what_a_recovery_needs_is_copied_and_only_what_is_written_takes_room(
    names: list[str], linked: list[str], copied_: list[str]
) -> None:
    assert copied.files_to_copy(names) == (linked, copied_)


def test_the_replays_of_a_copy_get_what_nobody_wants() -> None:
    assert release_trial.prefix([2, 3])[-3:] == ["taskset", "--cpu-list", "2,3"]
    assert "taskset" not in release_trial.prefix([])
