"""A running engine reloads its configuration.

The tests check which changes take effect, which are refused, and that clients notice nothing else.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.process import reload as reloading
from trading_engine.process import tools
from trading_engine.process.reload import Reload, ReloadError, parts_of
from trading_engine.settings.config import EngineConfig, Firms
from trading_engine.storage import journal, snapshot
from trading_engine.wire import ouch, soupbintcp

from tests.unit.engine.process import PASSWORD, Client, EngineProcess, cheap_hash
from tests.unit.engine.test_admin import admin, enter, said
from tests.unit.engine.test_cancellations import fill, turns_until

NEW_PASSWORD = "another"
LIMITED = 7


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path, canary={"symbol": "TEST"}) as running:
        running.config.write_text(running.config.read_text() + '\n[[symbol]]\nname = "OLD"\nreference_price = "5"\n')
        assert admin(running, "reload")[0] == 0
        yield running


def write(engine: EngineProcess, *changes: tuple[str, str]) -> None:
    text = engine.config.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    engine.config.write_text(text)


def reload(engine: EngineProcess) -> dict[str, Any]:
    code, printed = admin(engine, "reload")
    assert code == 0, printed
    answer: dict[str, Any] = json.loads(printed)
    return answer


def end_of_journal(engine: EngineProcess) -> int:
    return journal.end_of(max((engine.directory / "journal").glob("*.journal")))


def test_limits_accounts_symbols_and_passwords_change_under_clients_that_stay(engine: EngineProcess) -> None:
    anna, bert = Client(engine.port), Client(engine.port, "BERT")
    anna.send(enter("one"))
    anna.wait_for(2)
    write(
        engine,
        ("[accounts.BERT]", f'[accounts.CARL]\npassword = "{cheap_hash(PASSWORD)}"\n[accounts.BERT]'),
        ("[risk]\n", f"[risk]\nmax_order_shares = {LIMITED}\n"),
        ("[[symbol]]", '[[symbol]]\nname = "NEW"\nreference_price = "7"\ntick = "0.05"\n[[symbol]]'),
        ('name = "OLD"', 'name = "OTHER"'),
    )
    text = engine.config.read_text()
    head, anna_and_rest = text.split("[accounts.ANNA]")
    start = anna_and_rest.index('"')
    end = anna_and_rest.index('"', start + 1)
    changed = f"{anna_and_rest[: start + 1]}{cheap_hash(NEW_PASSWORD)}{anna_and_rest[end:]}"
    engine.config.write_text(f"{head}[accounts.ANNA]{changed}")
    answer = reload(engine)
    assert sorted(answer["accounts"]) == ["ANNA", "BERT", "CARL"]
    assert (answer["symbols"], answer["dropped"], answer["removed"]) == (["NEW", "OTHER"], ["OLD"], [])
    assert reload(engine)["changed"] is False

    for client in (anna, bert):
        client.send(enter("two", "S", LIMITED + 1))
    assert [anna.wait_for(3)[-1].reason, bert.wait_for(2)[-1].reason] == ["m", "m"]
    bert.send(ouch.EnterOrder("three", "S", LIMITED, "TEST", 1_000_000))
    assert isinstance(bert.wait_for(4)[-1], ouch.Executed)
    bert.send(ouch.EnterOrder("four", "B", 1, "NEW", 70_100), ouch.EnterOrder("five", "B", 1, "OLD", 50_000))
    assert [reply.reason for reply in bert.wait_for(6)[4:]] == ["X", "c"]
    assert Client(engine.port, "ANNA", PASSWORD).login == soupbintcp.NOT_AUTHORISED
    carl = Client(engine.port, "CARL")
    carl.send(enter("six", shares=1))
    assert isinstance(carl.wait_for(2)[-1], ouch.Accepted)
    anna.wait_for(4)
    for client in (anna, bert, carl):
        client.close()

    engine.stop(signal.SIGKILL)
    engine.start()
    again = Client(engine.port, "ANNA", NEW_PASSWORD)
    assert again.wait_for(4) == anna.messages
    again.close()


def test_an_account_that_is_removed_is_logged_out_and_its_orders_are_cancelled(engine: EngineProcess) -> None:
    anna, bert = Client(engine.port), Client(engine.port, "BERT")
    bert.send(*(enter(f"{number}", "S") for number in range(100)))
    bert.wait_for(101)
    text = engine.config.read_text()
    begin = text.index("[accounts.BERT]")
    engine.config.write_text(text[:begin] + text[text.index("[", begin + 1) :])
    assert reload(engine)["removed"] == ["BERT"]
    bert.wait(lambda: False)
    assert bert.raw.endswith(soupbintcp.END_OF_SESSION_PACKET)
    assert Client(engine.port, "BERT").login == soupbintcp.NOT_AUTHORISED
    anna.send(enter("one"))
    assert isinstance(anna.wait_for(2)[-1], ouch.Accepted)
    engine.config.write_text(text)
    assert reload(engine)["accounts"] == ["BERT"]
    assert admin(engine, "unkill", "BERT")[0] == 0
    again = Client(engine.port, "BERT")
    assert [type(message).__name__ for message in again.wait_for(201)[101:]] == ["Canceled"] * 100
    assert {message.reason for message in again.messages[101:]} == {"S"}
    again.close()
    anna.close()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[itch]\n", "[itch]\nbudget_bytes = 2000000\n", "[itch] budget_bytes: changed, which needs a restart"),
        ("[risk]\n", '[day]\nzone = "Asia/Tokyo"\n[risk]\n', "[day] zone: changed, which needs a restart"),
        ('symbol = "TEST"', 'symbol = "OLD"', "[canary] symbol"),
        ('reference_price = "100"', 'reference_price = "100"\ntick = "0.05"', "the canary's symbol's tick: changed"),
        ("[risk]\n", "[firms.ACME]\n[risk]\n", "mpids is missing"),
        ("[[symbol]]", '[[symbol]]\nname = "OLD"\nreference_price = "5"\n[[symbol]]', "OLD is there twice"),
        ('name = "OLD"', 'name = "NEW"', "symbol OLD has open orders: restrict it"),
        ("[accounts.ANNA]\n", '[accounts.ANNA]\ntokens = "increasing"\n', "account ANNA has used tokens"),
    ],
)
def test_what_a_running_engine_cannot_take_is_named_and_changes_nothing(
    engine: EngineProcess, old: str, new: str, complaint: str
) -> None:
    client = Client(engine.port)
    client.send(ouch.EnterOrder("one", "B", 1, "OLD", 50_000))
    client.wait_for(2)
    write(engine, (old, new), ("[risk]\n", "[risk]\nmax_order_shares = 1\n"))
    code, printed = admin(engine, "reload")
    assert (code, printed.count("\n")) == (2, 1)
    assert complaint in printed
    client.send(ouch.EnterOrder("two", "B", 2, "OLD", 50_000))
    assert isinstance(client.wait_for(3)[-1], ouch.Accepted)
    client.close()


PARTS: list[dict[str, Any]] = [
    {"accounts": [{"name": "ANNA"}]},
    {"accounts": {}},
    {"firms": [{"name": "A", "mpids": [""]}]},
    {"firms": [{"name": "A", "mpids": "A"}]},
    {"accounts": [7]},
    {"symbols": [{"name": "TEST", "reference_price_e4": 0, "restricted": False, "tick_e4": 0, "lot_shares": 1}]},
    {"symbols": [{"name": "TOOLONGNAME", "reference_price_e4": 1, "restricted": False, "tick_e4": 0, "lot_shares": 1}]},
    {},
]


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_a_malformed_reload_is_refused_and_neither_changes_nor_records_anything(
    start: Callable[[], Engine], part: dict[str, Any]
) -> None:
    engine = start()
    assert engine.writer is not None
    before = engine.writer.records
    asked = Reload(engine, lambda number: None, {"fixed": engine.config.fixed(), "default_firm": "A"})
    with pytest.raises(ReloadError):
        finish(asked, [part])
    assert engine.writer.records == before


@pytest.mark.parametrize("other", [{"mpids": [""]}, {"mpids": ["a"]}, {"self_match_within": "house"}], ids=str)
def test_an_account_that_no_files_could_have_is_refused(start: Callable[[], Engine], other: dict[str, Any]) -> None:
    engine = start()
    first, *parts = parts_of(engine.config)
    asked = Reload(engine, lambda number: None, first)
    for part in json.loads(json.dumps(parts)):
        for account in part.get("accounts", []):
            account.update(other)
            with pytest.raises(ReloadError, match=f"account {account['name']} is malformed"):
                asked.take({"accounts": [account]})


def test_a_configuration_of_any_size_is_sent_in_short_lines(start: Callable[[], Engine]) -> None:
    engine = start()
    mpids = tuple(f"{number:04d}" for number in range(1000))
    firms = Firms({**{f"F{number}": ("ONE",) for number in range(20_000)}, "MANY": mpids}, "MANY")
    anna = replace(engine.config.accounts["ANNA"], firm="MANY", mpids=mpids)
    accounts = {f"N{number:02d}": replace(anna, name=f"N{number:02d}") for number in range(40)}
    large = replace(engine.config, firms=firms, accounts=accounts)
    assert max(len(json.dumps(part)) for part in parts_of(large)) < 1 << 16
    run(engine, large)
    assert engine.config == large


def test_lines_that_are_no_reload_are_answered_and_leave_room_for_the_next(engine: EngineProcess) -> None:
    for lines in (
        [{"command": "reload"}, {"end": True}],
        [{"command": "reload", "fixed": {}, "default_firm": ""}, {"end": True}],
        [{"command": "reload", "fixed": {}, "default_firm": "", "more": " " * 100_000}, {"end": True}],
    ):
        answer = said(engine, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        assert "error" in answer
    assert reload(engine)["changed"] is False


def changed(config: EngineConfig, accounts: int, **limits: int) -> EngineConfig:
    """Add this number of accounts to the configuration. Give these limits to all accounts, and return the result."""
    anna = config.accounts["ANNA"]
    more = {f"N{number:05d}": replace(anna, name=f"N{number:05d}") for number in range(accounts)}
    every = {**config.accounts, **more}
    return replace(
        config,
        accounts={name: replace(account, limits=replace(account.limits, **limits)) for name, account in every.items()},
    )


def finish(asked: Reload, parts: list[dict[str, Any]]) -> None:
    """Give a started reload the remaining parts of the configuration. Then run all steps of the reload."""
    for part in parts:
        asked.take(json.loads(json.dumps(part)))
    for _ in asked.steps():
        pass


def steps_of(engine: Engine, config: EngineConfig) -> Iterator[None]:
    """Start a reload, give it the whole configuration, and return its steps, which have not yet run."""
    first, *parts = parts_of(config)
    asked = Reload(engine, lambda number: None, json.loads(json.dumps(first)))
    for part in parts[:-1]:
        asked.take(json.loads(json.dumps(part)))
    return asked.steps()


def run(engine: Engine, config: EngineConfig) -> int:
    """Reload the configuration, step by step.

    Return the largest number of records that one step has written to the journal.
    """
    assert engine.writer is not None
    records = [engine.writer.records]
    for _ in steps_of(engine, config):
        records.append(engine.writer.records)
    return max(after - before for before, after in itertools.pairwise(records))


def test_a_reload_of_many_accounts_is_done_in_slices_and_a_replay_says_the_same(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    engine = start()
    fill(engine, 0)
    assert engine.writer is not None
    before = engine.writer.records
    accounts = 5 * reloading._ITEMS_A_SLICE
    assert run(engine, changed(engine.config, accounts, max_exposure=10**9)) == 1
    assert engine.writer.records - before == -(-(accounts + 2) // reloading._ITEMS_A_SLICE)
    fill(engine, engine.core.accounts["N00007"].number, 10)
    fewer = replace(engine.config, accounts={"ANNA": engine.config.accounts["ANNA"]})
    assert run(engine, changed(fewer, 3)) == reloading._REMOVED_A_SLICE
    assert engine.core.accounts["N00007"].killed
    turns_until(loop, lambda: not engine.core.accounts["N00007"].open_orders)
    replayed = tools.replay(tmp_path / "journal")
    assert replayed["sha256"]["state"] == snapshot.digest(engine.core)


def test_an_order_that_comes_between_check_and_drop_keeps_its_symbol(start: Callable[[], Engine]) -> None:
    engine = start()
    (test,) = fewer = engine.config.symbols
    names = [f"S{number:02d}" for number in range(reloading._ITEMS_A_SLICE + 1)]  # the last name is alone in its slice
    more = replace(engine.config, symbols=(*fewer, *(replace(test, name=name) for name in names)))
    run(engine, more)
    writer, quiet = engine.writer, 0
    assert writer is not None
    before = writer.records
    steps = steps_of(engine, replace(engine.config, symbols=fewer))
    while next(steps, 0) is None and writer.records == before:
        quiet += 1
    for _ in steps:
        pass
    run(engine, more)

    steps = steps_of(engine, replace(engine.config, symbols=fewer))
    for _ in range(quiet):
        next(steps)
    order = ouch.EnterOrder("one", "B", 1, names[-1], 1_000_000)
    engine.read(0, soupbintcp.unsequenced(ouch.INBOUND.encode(order)), 0)
    assert engine.core.open_orders == 1
    with pytest.raises(ReloadError, match=f"{names[-1]} has open orders"):
        for _ in steps:
            pass
    assert not [book.stock for book in engine.core.by_locate if book.restricted]
    assert engine.config.symbols == more.symbols


def test_a_reload_whose_last_step_fails_is_not_done(
    start: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start()

    def fail(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, "Input/output error")

    fewer = replace(engine.config, accounts={"ANNA": engine.config.accounts["ANNA"]})
    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(ReloadError, match=r"failed in the middle of a reload .*Input/output error"):
        run(engine, fewer)


@pytest.mark.parametrize("removed", [True, False])
def test_without_a_canary_an_account_may_have_its_name(start: Callable[[], Engine], removed: bool) -> None:
    engine = start()
    canary = replace(engine.config.accounts["ANNA"], name="CANARY", mpids=("MINE",))
    run(engine, replace(engine.config, accounts={**engine.config.accounts, "CANARY": canary}))
    accounts = dict(engine.config.accounts)
    del accounts["CANARY" if removed else "BERT"]
    run(engine, replace(engine.config, accounts=accounts))
    assert engine.config.accounts == accounts


def test_no_turn_goes_through_all_of_a_large_configuration(start: Callable[[], Engine]) -> None:
    engine = start()
    (test,) = engine.config.symbols
    more = tuple(replace(test, name=f"S{number:04d}") for number in range(3000))
    large = replace(changed(engine.config, 2000), symbols=(test, *more))
    engine.submit(inputs.CONFIGURE, payload=json.dumps(large.core_settings()).encode())
    engine.config = large
    fewer = {name: account for name, account in large.accounts.items() if not name.endswith("0")}
    first, *parts = parts_of(replace(large, accounts=fewer, symbols=large.symbols[:-1]))
    lines = [0]

    def count(frame: object, event: str, argument: object) -> Any:
        lines[-1] += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        asked = Reload(engine, lambda number: None, first)
        sys.settrace(before)
        for part in parts[:-1]:
            asked.take(json.loads(json.dumps(part)))
        steps = asked.steps()
        sys.settrace(count)
        while next(steps, 0) is None:
            lines.append(0)
    finally:
        sys.settrace(before)
    assert (len(asked.answer["removed"]), asked.answer["dropped"]) == (200, [more[-1].name])
    assert max(lines) < 1500
    assert engine.config.accounts == fewer
    assert not engine.config.account_of("n00010")
    assert engine.config.account_of("n00011") == fewer["N00011"]


def test_a_limit_that_is_turned_on_knows_what_is_open_without_counting_it(start: Callable[[], Engine]) -> None:
    engine = start()
    fill(engine, 0, 10)  # ten orders of 100 shares at 100.00
    anna = engine.core.accounts["ANNA"]
    assert anna.exposure_e4 == 10 * 100 * 1_000_000
    run(engine, changed(engine.config, 0, max_exposure=100_000))
    order = ouch.EnterOrder("more", "B", 1, "TEST", 1_000_000)
    engine.core.apply(0, soupbintcp.unsequenced(ouch.INBOUND.encode(order)), engine.clock.now())
    reply = ouch.OUTBOUND.decode(anna.out[-1][3:])
    assert (type(reply), reply.reason) == (ouch.Rejected, "O")


def test_tokens_change_where_none_was_used(start: Callable[[], Engine]) -> None:
    engine = start()
    increasing = replace(engine.config.accounts["ANNA"], tokens="increasing")
    run(engine, replace(engine.config, accounts={**engine.config.accounts, "ANNA": increasing}))
    assert engine.core.accounts["ANNA"].increasing
