"""While order entry is closed, the engine rejects new orders and accepts cancels.

After a deployment, a new release starts with closed order entry. It stays closed until a check has succeeded.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from trading_engine.engine import CLOSED_FILE, Engine, StartError
from trading_engine.host.runs import run_prefix
from trading_engine.machine.core import Core
from trading_engine.process import gate as process_gate
from trading_engine.process import sealing, tools
from trading_engine.settings.config import EngineConfig
from trading_engine.storage import snapshot
from trading_engine.wire import ouch

from tests.unit.engine.process import PASSWORD, Client, EngineProcess, command

PAR = 1_000_000


def run(engine: EngineProcess, *arguments: str) -> tuple[int, str]:
    """Run `trading-engine` and return its exit status and its output."""
    with contextlib.chdir(engine.directory):
        result = command(*arguments)
    return result.returncode, result.stdout + result.stderr


def admin(engine: EngineProcess, command: str) -> dict[str, Any]:
    code, said = run(engine, "admin", "--config", "engine.toml", command)
    assert code == 0, said
    answer: dict[str, Any] = json.loads(said)
    return answer


def gate(engine: EngineProcess, password: str = PASSWORD) -> tuple[int, str]:
    (engine.directory / "password").write_text(f"{password}\n")
    return run(engine, "gate", "--config", "engine.toml", "--account", "BERT", "--password-file", "password")


@contextlib.contextmanager
def one_order(engine: EngineProcess) -> Iterator[Client]:
    """Yield a client whose only order, with the token A, rests in the book."""
    with contextlib.closing(Client(engine.port)) as client:
        client.send(ouch.EnterOrder("A", "B", 10, "TEST", PAR))
        client.wait_for(2)
        yield client


def closed_answers(client: Client) -> list[Any]:
    """Send three messages: enter a new order, replace order A, and cancel order A. Return the three answers."""
    before = len(client.messages)
    client.send(
        ouch.EnterOrder("B", "B", 10, "TEST", PAR), ouch.ReplaceOrder("A", "C", 20, PAR), ouch.CancelOrder("A", 0)
    )
    return client.wait_for(before + 3)[before:]


def test_a_closed_entry_takes_cancels_and_nothing_new(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine, one_order(engine) as client:
        assert admin(engine, "status")["entry_closed"] is False
        admin(engine, "close-entry")
        assert admin(engine, "status")["entry_closed"] is True
        rejected, replacement, cancelled = closed_answers(client)
        assert (rejected.token, rejected.reason) == ("B", "C")
        assert (replacement.token, replacement.reason) == ("C", "C")
        assert isinstance(cancelled, ouch.Canceled)
        assert cancelled.decrement_shares == 10
        admin(engine, "open-entry")
        client.send(ouch.EnterOrder("D", "B", 10, "TEST", PAR))
        assert isinstance(client.wait_for(6)[-1], ouch.Accepted)


def test_a_restart_and_a_replay_know_that_entry_was_closed(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine, one_order(engine):
        admin(engine, "close-entry")
        engine.stop()
        engine.start()
        with contextlib.closing(Client(engine.port, sequence=1)) as again:
            again.wait_for(2)
            assert [message.reason for message in closed_answers(again)[:2]] == ["C", "C"]
        before = snapshot.digest(_state(tmp_path))
        engine.stop()
        assert tools.replay(tmp_path / "journal")["sha256"]["state"] != before
        assert _state(tmp_path).entry_closed


def _state(directory: Path) -> Core:
    core = Core()
    snapshot.read(snapshot.files(directory / "journal")[-1], core)
    return core


def test_an_entry_that_is_open_leaves_no_trace_in_the_state(start: Callable[[], Engine]) -> None:
    engine = start()
    before = snapshot.digest(engine.core)
    engine.close_entry()
    assert snapshot.digest(engine.core) != before
    engine.open_entry()
    assert snapshot.digest(engine.core) == before


def test_the_gate_passes_an_engine_that_was_started_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EngineProcess(tmp_path) as engine, one_order(engine):
        code, said = gate(engine)
        assert (code, "order entry is open already" in said) == (2, True), said
        assert run(engine, "next-start", "closed", "--config", "engine.toml")[0] == 0
        engine.stop()
        engine.start()
        code, said = gate(engine, "wrong")
        assert (code, "the login was rejected with 'A'" in said) == (2, True), said
        code, said = gate(engine)
        assert (code, json.loads(said)["rejected"]) == (0, "C"), said
        monkeypatch.setattr(process_gate, "run_prefix", lambda: run_prefix(time.time() + 1))  # a second later
        assert gate(engine)[0] == 0  # also a second time, although an account cannot use a token twice
        assert run(engine, "next-start", "open", "--config", "engine.toml")[0] == 0
        engine.stop()
        engine.start()
        assert admin(engine, "status")["entry_closed"] is False


def test_the_gate_needs_an_engine_that_answers(tmp_path: Path) -> None:
    code, said = gate(EngineProcess(tmp_path))
    assert (code, "the engine does not answer" in said, "Traceback" in said) == (2, True, False), said


def test_a_start_that_is_doubted_refuses_another_state_and_changes_nothing(
    start: Callable[[], Engine], tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    settings = start().config
    elsewhere = _elsewhere(settings, tmp_path / "other")
    sealing.seal(elsewhere)
    (path,) = snapshot.files(tmp_path / "other")
    (path.parent / CLOSED_FILE).touch()
    written = path.read_bytes()
    path.write_bytes(_in_another_order(written))
    sound = {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    with pytest.raises(StartError, match=f"{path.name}: this release makes another state of it"):
        Engine(elsewhere, loop).start()
    assert {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()} == sound
    path.write_bytes(written)
    again = Engine(elsewhere, loop)
    again.start()
    again.fail("enough")
    again.stop()
    assert again.core.entry_closed
    assert again.recovered.snapshot_sha256 == snapshot.stored_digest(path)


def _in_another_order(data: bytes) -> bytes:
    """Exchange two keys of a snapshot, and return the snapshot. It is still valid, with the same content."""
    head, body = data[: data.index(b'{"accepting"') - 8], data[data.index(b'{"accepting"') - 8 :]
    changed = re.sub(rb'("next_match":\d+),("next_reference":\d+)', rb"\2,\1", body)
    assert changed != body
    order: Literal["little", "big"] = "little" if zlib.crc32(body).to_bytes(4, "little") in head else "big"
    return head.replace(zlib.crc32(body).to_bytes(4, order), zlib.crc32(changed).to_bytes(4, order)) + changed


def _elsewhere(settings: EngineConfig, directory: Path) -> EngineConfig:
    return dataclasses.replace(settings, journal=dataclasses.replace(settings.journal, directory=directory))


def test_what_was_killed_goes_on_as_any_version_after_it_was_sealed(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine, one_order(engine):
        engine.stop(9)
        assert not snapshot.files(tmp_path / "journal")
        code, said = run(engine, "seal", "--config", "engine.toml")
        assert (code, "any version goes on" in said) == (0, True), said
        assert _state(tmp_path).open_orders == 1
        engine.start()
        code, said = run(engine, "seal", "--config", "engine.toml")
        assert (code, "in use by another engine" in said) == (2, True), said
        with contextlib.closing(Client(engine.port, sequence=1)) as again:
            assert again.wait_for(2)[-1].token == "A"


def test_a_replay_takes_another_versions_journal_only_when_it_is_told_to(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine, one_order(engine):
        engine.stop()
        segment = tmp_path / "journal" / "000000000001.journal"
        version = snapshot.read(snapshot.files(tmp_path / "journal")[-1], None).version.encode()
        data = segment.read_bytes()
        assert data.count(version) == 1
        sound = json.loads(run(engine, "replay", "journal")[1])["sha256"]
        segment.write_bytes(data.replace(version, b"9.9.9" + version[5:]))
        assert run(engine, "replay", "journal")[0] == 2
        code, said = run(engine, "replay", "--any-version", "journal")
        assert code == 0, said
        assert json.loads(said)["sha256"] == sound


def test_a_journal_directory_that_cannot_be_written_keeps_entry_as_it_is(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine:
        os.mkdir(tmp_path / "journal" / CLOSED_FILE)
        code, said = run(engine, "admin", "--config", "engine.toml", "open-entry")
        assert (code, "Is a directory" in said) == (2, True), said
        assert admin(engine, "status")["failure"] == ""
