"""A person uses the engine's administration socket. The kernel tells the engine which user the person is.

The engine allows what the person's role allows. Its log names the person.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import stat
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.process import admin as process_admin
from trading_engine.process import people
from trading_engine.process.admin import Admin
from trading_engine.process.people import PEOPLE_VARIABLE, SOCKET, Person, person_at, roles_by_group
from trading_engine.process.visitors import Visitors
from trading_engine.storage import journal

from tests.unit.engine.process import DEADLINE_S, ENVIRONMENT, EngineProcess
from tests.unit.engine.test_admin import Answers, Turns, protocol_of

SHOWN = ["status"]
OPERATED = [*SHOWN, "halt", "resume", "kill", "unkill"]
ALL = [*OPERATED, "bust", "next-day", "reload"]
NOBODY = 65534
ROOT = Path(__file__).parents[3]


def asked(engine: Engine, person: Person, request: dict[str, Any]) -> dict[str, Any]:
    """Send a request to the engine as this person, and return the answer."""
    turns, transport = Turns(), Answers()
    protocol = protocol_of(engine, turns)
    protocol.connection_made(cast(asyncio.BaseTransport, transport))
    protocol._person = person
    protocol.data_received(json.dumps(request).encode() + b"\n")
    turns.run()
    assert transport.closed
    answer: dict[str, Any] = json.loads(transport.written)
    return answer


def connected_as(user: int, group: int, groups: list[int]) -> socket.socket:
    """Return a connection. The process at its other end ran with this user id and these group ids."""
    with socket.socket(socket.AF_UNIX) as listening:
        name = f"\0people-{secrets.token_hex(8)}"
        listening.bind(name)
        listening.listen()
        listening.settimeout(DEADLINE_S)
        child = os.fork()
        if child == 0:
            try:
                os.setgroups(groups)
                os.setgid(group)
                os.setuid(user)
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(name)
            finally:
                os._exit(0)  # the child process must not continue with the tests
        os.waitpid(child, 0)
        return listening.accept()[0]


@pytest.mark.parametrize(("role", "may"), [("observer", SHOWN), ("operator", OPERATED), ("root", ALL), ("", [])])
def test_a_role_may_do_what_is_its_own(role: str, may: list[str]) -> None:
    assert [command for command in ALL if Person("anna", role).may(command)] == may
    assert Person("anna", role).may(["halt"]) is (role == "root")  # a wrong type, which root is told


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
        assert person_at(connection, roles_by_group()) == Person("nobody", role)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as others")
def test_a_user_without_a_name_has_a_number() -> None:
    with connected_as(4_000_000, 4_000_000, []) as connection:
        assert person_at(connection, {}) == Person("user 4000000", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as others")
def test_of_a_person_who_comes_again_no_directory_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with connected_as(NOBODY, NOBODY, [2]) as first, connected_as(NOBODY, NOBODY, [2]) as second:
        expected = person_at(first, {2: "observer"})
        monkeypatch.setattr(people, "grp", None)
        monkeypatch.setattr(people, "pwd", None)
        assert person_at(second, {2: "observer"}) == expected == Person("nobody", "observer")


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


def test_a_reload_is_refused_at_once(start: Callable[[], Engine]) -> None:
    refused = asked(start(), Person("bert", "observer"), {"command": "reload"})
    assert refused == {"error": "bert has no role on this host that may do that"}


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_nobody_takes_all_the_places_of_a_socket(
    start: Callable[[], Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_loop: Callable[[], Any]
) -> None:
    engine, path, loop = start(), tmp_path / "people.sock", new_loop()
    writers: list[asyncio.StreamWriter] = []
    coming: deque[Person] = deque()  # in the order of their connections
    monkeypatch.setattr(process_admin, "person_at", lambda *_: coming.popleft())
    server = process_admin.serve(Admin(engine, lambda: None, lambda number: None), path, loop, for_people=True)

    async def connect(person: Person) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        coming.append(person)
        reader, writer = await asyncio.open_unix_connection(str(path))
        writers.append(writer)
        return reader, writer

    async def answer_to(person: Person) -> dict[str, Any]:
        reader, writer = await connect(person)
        writer.write(b'{"command": "status"}\n')
        answer: dict[str, Any] = json.loads(await reader.readline())
        return answer

    async def crowd() -> None:
        silent = [await connect(Person(name, "observer")) for name in "aaaabbbbccccdddd"]
        for late in (Person("a", "observer"), Person("e", "operator")):
            assert "ask again" in (await answer_to(late)).get("error", "")
        assert (await answer_to(Person("root", "root")))["failure"] == ""
        silent[0][1].close()
        while "error" in await answer_to(Person("e", "operator")):
            pass

    async def leave() -> None:
        server.close()
        for writer in writers:
            writer.close()
        for writer in writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    try:
        loop.run_until_complete(asyncio.wait_for(crowd(), DEADLINE_S))
    finally:
        loop.run_until_complete(leave())
        loop.close()


def test_one_person_leaves_places_for_others() -> None:
    visitors = Visitors({}, lambda: 0.0)
    anna, bert = Person("anna", "operator"), Person("bert", "observer")
    assert [visitors.admit(bert) for _ in range(6)] == [True] * 4 + [False] * 2
    assert visitors.admit(anna)
    visitors.leave(bert)
    assert visitors.admit(bert)


def test_an_engine_whose_people_cannot_be_served_starts_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, PEOPLE_VARIABLE, str(tmp_path / "missing" / "people.sock"))
    with EngineProcess(tmp_path) as engine:
        _code, errors = engine.stop()
    assert "people are not served, only root with --config" in errors


def test_the_unit_starts_the_engine_also_without_the_group_of_people() -> None:
    units = ROOT / "roles/hardening/files/etc/systemd/system"
    for drop_in in units.glob("trading-engine*.service.d/people.conf"):
        (prepare,) = (line for line in drop_in.read_text().splitlines() if line.startswith("ExecStartPre="))
        assert prepare.startswith("ExecStartPre=-+")


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
        assert stat.S_IMODE(path.stat().st_mode) == 0o666  # its directory restricts the access
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


def test_people_name_the_partition_whose_engine_they_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = ROOT / "roles/hardening/files/etc/systemd/system/trading-engine@.service.d/people.conf"
    assert "Environment=TRADING_ADMIN_PEOPLE=/run/trading-admin/admin-%i.sock" in unit.read_text().splitlines()
    assert str(SOCKET.with_name("admin-alpha.sock")) == "/run/trading-admin/admin-alpha.sock"
    monkeypatch.setitem(ENVIRONMENT, PEOPLE_VARIABLE, str(tmp_path / "admin-alpha.sock"))
    with EngineProcess(tmp_path) as engine:
        asked = {**ENVIRONMENT, PEOPLE_VARIABLE: str(tmp_path / "admin.sock")}
        command = [sys.executable, "-m", "trading_engine", "admin"]
        done = [
            subprocess.run(
                [*command, *more], env=asked, capture_output=True, text=True, timeout=DEADLINE_S, check=False
            )
            for more in (
                ("--partition", "alpha", "status"),
                ("--partition", "beta", "status"),
                ("--partition", "a/b", "status"),
                ("--config", str(engine.config), "--partition", "alpha", "status"),
            )
        ]
    assert [each.returncode for each in done] == [0, 2, 2, 2]
    assert "admin-beta.sock" in done[1].stderr
    assert "--partition 'a/b' is the name of no partition" in done[2].stderr
    assert "--config names the engine already" in done[3].stderr


def test_what_reads_the_engines_files_is_roots_and_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trading_engine", "admin", "bust", "1"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "give --config, as root" in done.stderr
