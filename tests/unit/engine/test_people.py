"""Who asks on an administration socket is known from the kernel, may do what the role may, and is named in the log."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.process import people
from trading_engine.process.admin import Admin, AdminProtocol
from trading_engine.process.people import PEOPLE_VARIABLE, Person, person_at
from trading_engine.storage import journal

from tests.unit.engine.process import DEADLINE_S, ENVIRONMENT, EngineProcess
from tests.unit.engine.test_admin import Answers

SHOWN = ["status"]
OPERATED = [*SHOWN, "halt", "resume", "kill", "unkill"]
ALL = [*OPERATED, "bust", "next-day", "reload"]
NOBODY = 65534


def asked(engine: Engine, person: Person, request: dict[str, Any]) -> dict[str, Any]:
    """Return the engine's answer to a person."""
    turns: list[Callable[[], None]] = []
    loop = cast(asyncio.AbstractEventLoop, SimpleNamespace(call_soon=turns.append))
    protocol, transport = AdminProtocol(Admin(engine, lambda: None, lambda number: None), loop), Answers()
    protocol.connection_made(cast(asyncio.BaseTransport, transport))
    protocol._person = person
    protocol.data_received(json.dumps(request).encode() + b"\n")
    while turns:
        turns.pop()()
    answer: dict[str, Any] = json.loads(transport.written)
    return answer


def connected_as(user: int, group: int, groups: list[int]) -> socket.socket:
    """Return a connection whose other end is such a process."""
    with socket.socket(socket.AF_UNIX) as listening:
        name = f"\0people-{secrets.token_hex(8)}"
        listening.bind(name)
        listening.listen()
        child = os.fork()
        if child == 0:
            os.setgroups(groups)
            os.setgid(group)
            os.setuid(user)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(name)
            os._exit(0)
        os.waitpid(child, 0)
        return listening.accept()[0]


@pytest.mark.parametrize(("role", "may"), [("observer", SHOWN), ("operator", OPERATED), ("root", ALL), ("", [])])
def test_a_role_may_do_what_is_its_own(role: str, may: list[str]) -> None:
    assert [command for command in ALL if Person("anna", role).may(command)] == may
    assert Person("anna", role).may(["halt"]) is (role == "root")  # which is answered as nonsense


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as others")
@pytest.mark.parametrize(
    ("group", "groups", "role"),
    [(NOBODY, [2], "observer"), (NOBODY, [1, 2], "operator"), (1, [], "operator"), (NOBODY, [3], "")],
)
def test_the_role_comes_from_the_groups_of_the_process_that_connects(
    monkeypatch: pytest.MonkeyPatch, group: int, groups: list[int], role: str
) -> None:
    monkeypatch.setattr(people, "_GROUPS", {"no-such-group": "root", "daemon": "operator", "bin": "observer"})
    with connected_as(NOBODY, group, groups) as connection:
        assert person_at(connection) == Person("nobody", role)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as others")
def test_a_user_without_a_name_has_a_number() -> None:
    with connected_as(4_000_000, 4_000_000, []) as connection:
        assert person_at(connection) == Person("user 4000000", "")


def test_an_observer_sees_the_state_and_changes_none(
    start: Callable[[], Engine], capfd: pytest.CaptureFixture[str]
) -> None:
    engine, anna, bert = start(), Person("anna", "operator"), Person("bert", "observer")
    assert asked(engine, anna, {"command": "halt", "name": "TEST"}) == {"done": "halt", "name": "TEST"}
    refused = asked(engine, bert, {"command": "resume", "name": "TEST"})
    assert refused == {"error": "bert has no role on this host that may do that"}
    status = asked(engine, bert, {"command": "status"})
    assert (status["halted"], status["killed"], status["failure"]) == (["TEST"], [], "")
    said = capfd.readouterr().err.splitlines()
    assert said == [
        "trading-engine: admin: anna (operator): halt TEST: done",
        "trading-engine: admin: bert (observer): resume TEST: refused, bert has no role on this host that may do that",
    ]


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x" * 10_000, "\udc80", ["TEST"], {"a": 1}])
def test_what_somebody_sends_makes_one_short_line_of_the_log(
    start: Callable[[], Engine], capfd: pytest.CaptureFixture[str], name: object
) -> None:
    assert "error" in asked(start(), Person("anna", "operator"), {"command": "halt", "name": name})
    (line,) = capfd.readouterr().err.splitlines()
    assert line.isprintable()
    assert line.startswith("trading-engine: admin: anna (operator): halt ")
    assert len(line) < 400


def test_people_reach_the_engine_by_a_socket_of_their_own_and_its_journal_names_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "people.sock"
    monkeypatch.setitem(ENVIRONMENT, PEOPLE_VARIABLE, str(path))
    with EngineProcess(tmp_path) as engine:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666  # its directory is what is guarded
        done = subprocess.run(
            [sys.executable, "-m", "trading_engine", "admin", "halt", "TEST"],
            env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE_S, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout) == {"done": "halt", "name": "TEST"}
        _code, errors = engine.stop()
    assert "(root): halt TEST: done" in errors
    assert not path.exists()
    (segment,) = (tmp_path / "journal").glob("*.journal")
    records = [record for record in journal.read_segment(segment, last=True) if record.kind == inputs.ADMIN]
    assert [json.loads(record.payload) for record in records] == [{"do": "halt", "symbol": "TEST"}]


def test_what_reads_the_engines_files_is_roots_and_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trading_engine", "admin", "bust", "1"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "give --config, as root" in done.stderr
