"""The engine as a process. It continues after errors of clients. When it cannot run, it reports why."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trading_engine.engine import Engine
from trading_engine.machine.version import is_compiled
from trading_engine.settings.passwords import verify
from trading_engine.wire import ouch, soupbintcp

from tests.unit.engine.process import (
    DEADLINE_S,
    ENVIRONMENT,
    PASSWORD,
    Client,
    EngineProcess,
    command,
    wait_for_state,
)

PAR = 1_000_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """Run one engine for all tests that do not need a new engine. Each test uses its own tokens.

    Tests leave only buy orders at PAR or less in the book. A test can therefore trade at a higher price without them.
    """
    with EngineProcess(tmp_path_factory.mktemp("shared")) as running:
        yield running


def enter(token: str, side: str = "B", shares: int = 100, price_e4: int = PAR) -> ouch.EnterOrder:
    return ouch.EnterOrder(token, side, shares, "TEST", price_e4)


def serve(config: Path) -> subprocess.CompletedProcess[str]:
    """Run an engine that cannot start, and return the ended process."""
    return subprocess.run(
        [sys.executable, "-m", "trading_engine", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=ENVIRONMENT,
    )


def test_two_clients_trade(shared_engine: EngineProcess) -> None:
    anna, bert = Client(shared_engine.port, sequence=0), Client(shared_engine.port, "BERT", sequence=0)
    anna.send(enter("sell", "S", 60, 2 * PAR))
    anna.wait_for(1)
    bert.send(enter("buy", "B", 60, 2 * PAR))
    bert.wait_for(2)
    anna.wait_for(2)
    assert [type(message).__name__ for message in bert.messages] == ["Accepted", "Executed"]
    assert anna.messages[1].match == bert.messages[1].match
    anna.close()
    bert.close()


def test_a_client_that_reconnects_with_its_next_number_gets_every_message_once(
    shared_engine: EngineProcess,
) -> None:
    first = Client(shared_engine.port, sequence=0)
    assert isinstance(first.login, soupbintcp.LoginAccepted)
    first.send(*(enter(f"{number:03d}") for number in range(50)))
    first.wait_for(20)
    received = len(first.messages)
    first.close()
    number = first.login.sequence + received
    second = Client(shared_engine.port, sequence=number)
    assert second.login == soupbintcp.LoginAccepted(first.login.session, number)
    second.wait_for(50 - received)
    assert [message.token for message in first.messages + second.messages] == [f"{n:03d}" for n in range(50)]
    second.close()


def test_sequence_zero_begins_with_what_comes_next(shared_engine: EngineProcess) -> None:
    first = Client(shared_engine.port, sequence=0)
    first.send(enter("before"))
    first.wait_for(1)
    first.close()
    second = Client(shared_engine.port, sequence=0)
    second.send(enter("after"))
    second.wait_for(1)
    assert second.messages[0].token == "after"
    second.close()


def test_a_number_that_does_not_exist_yet_is_not_available(shared_engine: EngineProcess) -> None:
    assert Client(shared_engine.port, sequence=1000).login == soupbintcp.SESSION_NOT_AVAILABLE


@pytest.mark.parametrize(("account", "password"), [("anna", PASSWORD), ("ANNA\0\0", PASSWORD + "\0")])
def test_a_name_in_lower_case_or_padded_with_nuls_logs_in(
    shared_engine: EngineProcess, account: str, password: str
) -> None:
    client = Client(shared_engine.port, account, password, sequence=0)
    assert isinstance(client.login, soupbintcp.LoginAccepted)
    client.close()


def test_a_login_of_52_bytes_says_how_long_its_client_may_be_silent(shared_engine: EngineProcess) -> None:
    before_it_would = soupbintcp.SILENCE_LIMIT_NS / 1e9 - 1
    with socket.create_connection(("127.0.0.1", shared_engine.port), timeout=before_it_would) as client:
        request = soupbintcp.login_request("ANNA", PASSWORD)[3:] + b"    1"
        client.sendall(soupbintcp.packet(soupbintcp.LOGIN_REQUEST, request))
        answers = b"".join(iter(lambda: client.recv(4096), b""))
    assert answers[2:3] == b"A"


@pytest.mark.parametrize(("account", "password"), [("ANNA", "wrong"), ("NOBODY", PASSWORD), ("ANNA", PASSWORD.upper())])
def test_a_wrong_password_or_account_is_not_authorised(
    shared_engine: EngineProcess, account: str, password: str
) -> None:
    assert Client(shared_engine.port, account, password).login == soupbintcp.NOT_AUTHORISED


def test_a_second_login_takes_over_by_default(shared_engine: EngineProcess) -> None:
    first, second = Client(shared_engine.port, sequence=0), Client(shared_engine.port, sequence=0)
    first.wait(lambda: False)
    assert first.ended
    second.send(enter("taken over"))
    second.wait_for(1)
    second.close()


def test_a_second_login_is_refused_where_that_was_chosen(tmp_path: Path) -> None:
    with EngineProcess(tmp_path, order_entry={"second_login": "refuse"}) as engine:
        first = Client(engine.port)
        assert Client(engine.port).login == soupbintcp.SESSION_NOT_AVAILABLE
        first.send(enter("one"))
        first.wait_for(2)
        first.close()


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0", b"\0\x01U", b"\xff" * 64, b"\0\x2fL" + b"\xff" * 46]
)
def test_what_is_no_login_is_cut_off_and_counted(shared_engine: EngineProcess, data: bytes) -> None:
    before = wait_for_state(shared_engine, lambda state: True).counters["dropped_malformed_input"]
    with socket.create_connection(("127.0.0.1", shared_engine.port), timeout=DEADLINE_S) as stranger:
        stranger.sendall(data)
        with contextlib.suppress(ConnectionResetError):  # happens when the engine has not read all bytes
            assert stranger.recv(100) == b""
    after = wait_for_state(shared_engine, lambda state: state.counters["dropped_malformed_input"] != before)
    assert after.counters["dropped_malformed_input"] == before + 1


def test_malformed_input_after_the_login_ends_the_session_but_not_its_orders(shared_engine: EngineProcess) -> None:
    client = Client(shared_engine.port, sequence=0)
    client.send(enter("resting"))
    client.wait_for(1)
    client.socket.sendall(b"\0\x03U??")
    client.wait(lambda: False)
    again = Client(shared_engine.port, sequence=0)
    again.send(ouch.CancelOrder("resting", 0))
    assert isinstance(again.wait_for(1)[0], ouch.Canceled)
    again.close()


def test_termination_says_good_bye_and_leaves_a_sealed_journal(engine: EngineProcess) -> None:
    client = Client(engine.port)
    client.send(enter("one"))
    client.wait_for(2)
    code, errors = engine.stop()
    client.wait(lambda: False)
    assert client.raw.endswith(soupbintcp.END_OF_SESSION_PACKET)
    assert (code, errors) == (0, "")
    (segment,) = (engine.directory / "journal").glob("*.journal")
    assert segment.read_bytes().rstrip(b"\0") == segment.read_bytes()
    assert segment.stat().st_size < 2000


def test_status_counts_sessions_and_tells_test_accounts_apart(engine: EngineProcess) -> None:
    anna, bert = Client(engine.port), Client(engine.port, "BERT")
    wait_for_state(engine, lambda state: state.gauges["sessions_open"] == 2)
    result = command("status", "--config", str(engine.config))
    status = json.loads(result.stdout)
    assert result.returncode == 0
    assert (status["running"], status["sessions_open"], status["test_sessions_open"]) == (True, 2, 1)
    assert status["compiled"] is is_compiled()
    anna.close()
    bert.close()
    engine.stop()
    result = command("status", "--config", str(engine.config))
    assert result.returncode == 1
    assert json.loads(result.stdout)["running"] is False


def test_a_port_in_use_is_named(shared_engine: EngineProcess, tmp_path: Path) -> None:
    second = EngineProcess(tmp_path, order_entry={"port": shared_engine.port})
    result = serve(second.config)
    assert result.returncode == 2
    assert f"port {shared_engine.port}: Address already in use" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_journal_directory_in_use_is_named(shared_engine: EngineProcess) -> None:
    result = serve(shared_engine.config)
    assert result.returncode == 2
    assert "in use by another engine" in result.stderr


@pytest.mark.parametrize("hindrance", ["file", "foreign"])
def test_a_journal_directory_that_cannot_be_used_is_named(tmp_path: Path, hindrance: str) -> None:
    engine = EngineProcess(tmp_path)
    if hindrance == "file":
        (tmp_path / "journal").write_text("")
    else:
        (tmp_path / "journal").mkdir()
        (tmp_path / "journal" / "000000000001.journal").write_text("something else")
    result = serve(engine.config)
    assert result.returncode == 2
    assert result.stderr.startswith(f"trading-engine: error: {tmp_path / 'journal'}")
    assert result.stderr.count("\n") == 1


def test_the_example_configuration_runs_as_it_is(tmp_path: Path) -> None:
    example = command("example-config")
    assert example.returncode == 0
    config = tmp_path / "engine.toml"
    config.write_text(example.stdout)
    result = command("check-config", str(config))
    assert (result.returncode, result.stderr) == (0, "")
    engine = EngineProcess(tmp_path)
    engine.config.write_text(example.stdout.replace("port = 9001", f"port = {engine.port}"))  # port 9001 may be in use
    (password,) = re.findall(r"clear-text password of this one: (\S+)", example.stdout)
    with engine:
        client = Client(engine.port, "DEMO", password)
        client.send(enter("one"))
        assert isinstance(client.wait_for(2)[1], ouch.Accepted)
        client.close()


@pytest.mark.parametrize("table", ["order_entry", "market_data"])
def test_the_check_refuses_an_address_of_another_machine(tmp_path: Path, table: str) -> None:
    config = tmp_path / "engine.toml"
    example = command("example-config").stdout
    before, behind = example.split(f"[{table}]", 1)
    config.write_text(f"{before}[{table}]{behind.replace('127.0.0.1', '192.0.2.1', 1)}")
    result = command("check-config", str(config))
    assert result.returncode == 2
    assert f"{config} [{table}]: this machine cannot listen on 192.0.2.1: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_option_ends_with_usage_and_no_traceback() -> None:
    result = command("--confg", "x")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_hash_password_reads_what_soupbintcp_can_carry() -> None:
    good = command("hash-password", typed="secret")
    assert (good.returncode, good.stdout[:7]) == (0, "scrypt$")
    assert verify("secret", good.stdout.strip())
    bad = command("hash-password", typed="eleven char")
    assert bad.returncode == 2
    assert "1 to 10" in bad.stderr


def test_a_session_of_another_date_is_ended_at_the_start(tmp_path: Path) -> None:
    engine = EngineProcess(tmp_path, day={"zone": "Etc/GMT+12"})
    with engine:
        client = Client(engine.port)
        client.send(enter("one"))
        client.wait_for(2)
        first = client.login
        engine.stop()
        client.wait(lambda: False)
        engine.config.write_text(engine.config.read_text().replace("Etc/GMT+12", "Etc/GMT-14"))
        engine.start()
        again = Client(engine.port)
        assert again.login != first
        again.send(enter("one"))
        assert [type(message).__name__ for message in again.wait_for(2)] == ["SystemEvent", "Accepted"]
        again.close()


def zone_with_midnight_in(directory: Path, seconds: int) -> tuple[str, str]:
    """Write the file of a time zone `Soon`, in which midnight is after this number of seconds.

    The file has the format tzfile(5). Return two dates as YYYYMMDD: the date before midnight, and the date after it.
    """
    midnight_s = int(time.time()) + seconds
    offset_s = (-midnight_s + 43_200) % 86_400 - 43_200
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 5)
    (directory / "Soon").write_bytes(b"TZif" + bytes(16) + counts + struct.pack(">lbB", offset_s, 0, 0) + b"SOON\0")
    local = [time.gmtime(midnight_s + offset_s + more_s) for more_s in (-1, 0)]
    return time.strftime("%Y%m%d", local[0]), time.strftime("%Y%m%d", local[1])


def test_a_running_engine_ends_its_session_at_midnight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "PYTHONTZPATH", str(tmp_path))
    for seconds in (2, 4, 8, 16):  # longer, until an engine accepts an order before midnight
        directory = tmp_path / str(seconds)
        directory.mkdir()
        old, new = zone_with_midnight_in(tmp_path, seconds)
        with (
            EngineProcess(directory, day={"zone": "Soon"}) as engine,
            contextlib.closing(Client(engine.port)) as client,
        ):
            if session_date(client) != old:
                continue
            client.send(enter("one"))
            client.wait(lambda: False)
            answers = [type(message).__name__ for message in client.messages]
            if "Accepted" not in answers:
                continue
            assert answers == ["SystemEvent", "Accepted", "Canceled", "SystemEvent"]
            assert client.raw.endswith(soupbintcp.END_OF_SESSION_PACKET)
            again = Client(engine.port)
            assert session_date(again) == new
            assert [type(message).__name__ for message in again.wait_for(1)] == ["SystemEvent"]
            again.close()
            return
    pytest.fail("no engine was there in time")


def session_date(client: Client) -> str:
    assert isinstance(client.login, soupbintcp.LoginAccepted)
    return client.login.session[:8]


def test_without_room_new_orders_are_refused_and_cancels_still_work(tmp_path: Path) -> None:
    engine = EngineProcess(tmp_path)
    with engine:
        client = Client(engine.port)
        client.send(enter("one"), enter("two"))
        client.wait_for(3)
        engine.stop()
        client.wait(lambda: False)
        engine.config.write_text(engine.config.read_text().replace("reserve_bytes = 0", f"reserve_bytes = {1 << 50}"))
        engine.start()
        again = Client(engine.port, sequence=4)
        again.send(enter("three"), ouch.ReplaceOrder("two", "four", 50, PAR), ouch.CancelOrder("one", 0))
        answers = [(type(message).__name__, message.reason) for message in again.wait_for(3)]
        assert answers == [("Rejected", "O"), ("Rejected", "O"), ("Canceled", "U")]
        again.close()


@pytest.mark.parametrize("durability", ["os"])
def test_new_orders_are_refused_at_95_percent_of_the_budget(start: Callable[[], Engine], tmp_path: Path) -> None:
    engine = start()
    budget_bytes = engine.config.journal.budget_bytes
    filler = tmp_path / "journal/filler"  # other files in the directory count as well

    def answer(token: str, used_percent: int, more_bytes: int = 0) -> str:
        filler.touch()
        engine.watch_disk()
        others_bytes = engine.used_bytes - filler.stat().st_size
        os.truncate(filler, budget_bytes * used_percent // 100 + more_bytes - others_bytes)
        engine.watch_disk()
        before = len(replies(engine))
        engine.read(0, soupbintcp.unsequenced(ouch.INBOUND.encode(enter(token))), 0)
        return "".join(type(message).__name__ for message in replies(engine)[before:])

    assert answer("below", 95) == "Accepted"
    assert answer("above", 95, 1) == "Rejected"
    engine.read(0, soupbintcp.unsequenced(ouch.INBOUND.encode(ouch.CancelOrder("below", 0))), 0)
    assert isinstance(replies(engine)[-1], ouch.Canceled)
    assert answer("below again", 94) == "Accepted"


def replies(engine: Engine) -> list[Any]:
    packets, _ = engine.outbox.log(0).read_from(1, 1 << 16)
    return [ouch.OUTBOUND.decode(payload) for _, payload in soupbintcp.Splitter().feed(packets)]


def test_guessing_passwords_is_slowed_down(engine: EngineProcess) -> None:
    for _ in range(10):
        assert Client(engine.port, password="guess").login == soupbintcp.NOT_AUTHORISED
    assert Client(engine.port).login == soupbintcp.NOT_AUTHORISED


def test_a_quiet_session_hears_heartbeats(shared_engine: EngineProcess) -> None:
    client = Client(shared_engine.port, sequence=0)
    client.wait(lambda: soupbintcp.SERVER_HEARTBEAT_PACKET in client.raw)
    client.socket.sendall(soupbintcp.CLIENT_HEARTBEAT_PACKET + soupbintcp.debug("hello"))
    client.send(enter("quiet"))
    assert isinstance(client.wait_for(1)[0], ouch.Accepted)
    client.close()
