"""One command moves a symbol to another partition. The trading day of both engines must have ended.

The command reports all reasons for a refusal before it changes anything.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml

from tests.unit.collection.test_partitions_open import LEFT, ROLE, Told, host, run, said

DECLARED = {"alpha": ["TEST", "AAPL", "MSFT"], "beta": ["TEST2"]}
# Variables on the command line. They have priority over all other variables.
MOVE = {"trading_engine_move_symbol": "MSFT", "trading_engine_move_to": "alpha"}


def engine(symbols: list[str], canary: str) -> dict[str, Any]:
    """Return what the role reads from an engine with these symbols, whose trading day has ended."""
    listed = "".join(f'\n[[symbol]]\nname = "{symbol}"\n' for symbol in symbols)
    text = f'# Written\n\n[canary]\nsymbol = "{canary}"\n{listed}'
    content = base64.b64encode(text.encode()).decode()
    return {"content": content, "book": {"rc": 0, "stdout": '{"gauges": {"open_orders": 0}}'}, "enabled": {"rc": 0}}


def engines(**of: tuple[list[str], str]) -> dict[str, dict[str, Any]]:
    return {name: engine(*each) for name, each in of.items()}


def machine(
    name: str,
    there: dict[str, dict[str, Any]],
    wanted: dict[str, list[str]] | None = None,
    answers: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return the variables of a host on which the engines `there` run.

    `wanted` are the partitions that the user declares. The engines' answers say that the trading day has ended.
    `answers` replaces some of these answers.
    """
    told = {"sessions_open": 0, "open_orders": 0, "session": "2026113001", "session_messages": 0, **(answers or {})}
    rc = 0 if told.pop("up", True) else 1
    known = {key: value for key, value in told.items() if value is not None}
    results = [{"item": each, "rc": rc} for each in there]
    return {
        **host(name, there, wanted or DECLARED),
        "__trading_engine_clients": {
            "results": [{**each, "stdout": json.dumps({"gauges": known})} for each in results]
        },
        "__trading_engine_sessions": {"results": [{**each, "stdout": json.dumps(known)} for each in results]},
        **more,
    }


TWO = engines(alpha=(["TEST", "AAPL"], "TEST"), beta=(["TEST2", "MSFT"], "TEST2"))
BEFORE = {"alpha": ["TEST", "AAPL"], "beta": ["TEST2", "MSFT"]}
ACROSS = [
    {"name": "alpha", "symbols": DECLARED["alpha"], "hosts": ["taker"]},
    {"name": "beta", "symbols": DECLARED["beta"], "hosts": ["giver"], "test_symbol": "TEST2"},
]
HOSTS = {
    "ended": machine("ended", TWO),
    "there": machine("there", engines(alpha=(DECLARED["alpha"], "TEST"), beta=(["TEST2"], "TEST2"))),
    "unwritten": machine("unwritten", TWO, BEFORE),
    "unknown": machine("unknown", TWO),
    "nowhere": machine("nowhere", TWO),
    "only": machine("only", engines(alpha=(["TEST", "AAPL"], "TEST"), beta=(["MSFT"], ""))),
    "tested": machine("tested", engines(alpha=(["TEST", "AAPL"], "TEST"), beta=(["TEST2", "MSFT"], "MSFT"))),
    "limited": machine("limited", TWO),
    "clients": machine("clients", TWO, answers={"sessions_open": 1}),
    "orders": machine("orders", TWO, answers={"open_orders": 2}),
    "in-session": machine("in-session", TWO, answers={"session_messages": 7}),
    "older": machine("older", TWO, answers={"session_messages": None}),
    "down": machine("down", TWO, answers={"up": False}),
    "behind": machine("behind", TWO, behind=["beta"]),
    "giver": machine("giver", engines(beta=(["TEST2", "MSFT"], "TEST2")), trading_partitions=ACROSS),
    "taker": machine("taker", engines(alpha=(["TEST", "AAPL"], "TEST")), trading_partitions=ACROSS),
}
# These hosts are like giver and taker. On the first one, the step fails in which its engine must give up the symbol.
BROKEN = [{**ACROSS[0], "hosts": ["waiting"]}, {**ACROSS[1], "hosts": ["failed"]}]
HOSTS["failed"] = {**HOSTS["giver"], "trading_partitions": BROKEN, "failing_here": ["beta"]}
HOSTS["waiting"] = {**HOSTS["taker"], "trading_partitions": BROKEN}
TOGETHER = ("giver", "taker", "failed", "waiting", "limited")


def tasks(given: dict[str, str], *, asks_all: bool = False) -> list[dict[str, Any]]:
    """Return the role's tasks without the tasks that query the host. The test supplies the answers instead.

    When a task refuses the move, the remaining tasks do not run.
    """
    read: list[dict[str, Any]] = yaml.safe_load((ROLE / "tasks/move_symbol.yml").read_text(encoding="utf-8"))
    kept = [task for task in read if not {"ansible.builtin.command", "ansible.builtin.import_tasks"} & set(task)]
    assert kept[0]["name"] == "Move symbol | Check the partitions"
    (asked,) = (task for task in kept if "leave a host out" in task["name"])
    if not asks_all:
        kept.remove(asked)
    for number, task in enumerate(kept):
        if "ansible.builtin.assert" in task:
            assert task.pop("any_errors_fatal"), "what one host is refused, no other may do"
            task["register"] = f"said_{number}"
    left = {} if asks_all else {"__trading_engine_unasked": LEFT}
    block = {"name": "Move", "block": kept[1:], "vars": {**MOVE, **left, **given}}
    return [{**block, "rescue": [{"name": "Go on", "ansible.builtin.meta": "noop"}]}]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    given = {
        "unknown": {"trading_engine_move_symbol": "IBM"},
        "nowhere": {"trading_engine_move_to": "gamma"},
    }
    plays = [*(name for name in HOSTS if name not in TOGETHER), "giver:taker", "failed:waiting"]
    tried = [(name, tasks(given.get(name, {})), ROLE) for name in plays]
    return run(tmp_path_factory.mktemp("moves"), HOSTS, *tried, ("limited", tasks({}, asks_all=True), ROLE))


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("unwritten", "trading_partitions has MSFT at beta, and the next site.yml would bring it back there. Write"),
        ("unknown", "symbol IBM is none of TEST, AAPL, MSFT, TEST2. Nothing was changed"),
        ("nowhere", "partition gamma is none of alpha, beta. Nothing was changed"),
        ("only", "symbol MSFT is the only one of beta: take beta out of trading_partitions"),
        ("tested", "symbol MSFT is the test_symbol of beta: give beta another one first"),
        ("limited", "was not asked, and may trade MSFT: run without --limit, with all hosts up. Nothing was changed"),
        ("clients", "trading-engine@alpha.service of clients has 1 connected clients: end their sessions. Nothing"),
        ("orders", "trading-engine@alpha.service of orders has 2 open orders: cancel them. Nothing was changed"),
        (
            "in-session",
            "has sent 7 messages in session 2026113001: end the day there, by sudo "
            "/opt/trading/current/bin/trading-engine admin --config /etc/trading/engine-alpha.toml next-day",
        ),
        ("older", "of older is of a release that does not say whether its day has ended: run configure.yml first"),
        ("down", "trading-engine@beta.service of down does not answer: start it. Nothing was changed"),
    ],
)
def test_it_is_refused_before_anything_is_changed(told: Told, name: str, refused: str) -> None:
    assert any(refused in text for text in said(told[name])), said(told[name])
    assert "touched" not in told[name]


def test_who_has_the_symbol_comes_first_and_who_gets_it_last(told: Told) -> None:
    assert said(told["ended"]) == []
    assert told["ended"]["touched"] == ["beta", "alpha"]


def test_who_gets_it_waits_for_an_engine_that_was_not_restarted(told: Told) -> None:
    (refused,) = said(told["behind"])
    assert "partition alpha was not touched, because an engine of behind may still trade MSFT: run configure" in refused
    assert "after the day's end, with trading_engine_restart=always" in refused, "this play finds no giver any more"
    assert told["behind"]["touched"] == ["beta"]


def test_what_is_there_is_moved_no_more(told: Told) -> None:
    assert said(told["there"]) == []
    assert "touched" not in told["there"]


def test_it_moves_from_host_to_host(told: Told) -> None:
    assert said(told["giver"]) + said(told["taker"]) == []
    assert (told["giver"]["touched"], told["taker"]["touched"]) == (["beta"], ["alpha"])


def test_who_gets_it_waits_where_the_other_host_failed(told: Told) -> None:
    (refused,) = said(told["waiting"])
    assert "partition alpha was not touched, because an engine of failed may still trade MSFT" in refused
    assert (told["failed"]["touched"], told["waiting"].get("touched")) == (["beta"], None)


def test_the_open_book_is_asked_before_anything_is_changed() -> None:
    read = yaml.safe_load((ROLE / "tasks/move_symbol.yml").read_text(encoding="utf-8"))
    done = [task.get("ansible.builtin.import_tasks") or task.get("ansible.builtin.include_tasks") for task in read]
    assert [file for file in done if file] == ["partitions_open.yml", "partition.yml", "partition.yml"]
