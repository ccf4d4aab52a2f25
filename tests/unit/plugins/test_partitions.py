"""The list of a host's partitions, which the user writes.

Each mistake in the list is refused with a message that names it. The names, files and ports of a partition are derived
from the list.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.filter.partitions import partitions
from ansible_collections.lowlatency.trading.plugins.module_utils.partitions import move, moves, names_of, problems
from hypothesis import given
from hypothesis import strategies as st

SYMBOLS = [{"name": name, "reference_price": "1.00"} for name in ("TEST", "AAPL", "MSFT")]
ACCOUNTS = [{"name": "BENCH"}, {"name": "DESK1"}]
PORTS = {"order": 9001, "feed": 9002, "telemetry": 8000, "SSH": 22}
ALPHA = {"name": "alpha", "symbols": ["TEST", "AAPL"]}
BETA = {"name": "beta", "symbols": ["MSFT"]}
ONE = ("host-1",)


def wrong(*declared: Any, hosts: tuple[str, ...] = ONE, settings: dict[str, Any] | None = None) -> list[str]:
    return problems(list(declared), SYMBOLS, ACCOUNTS, hosts, PORTS, settings or {})


def test_what_is_right_is_not_refused() -> None:
    assert wrong(ALPHA, BETA) == []
    assert (
        wrong({**ALPHA, "hosts": ["host-2"]}, {**BETA, "hosts": [1], "accounts": ["DESK1"]}, hosts=("host-1", "host-2"))
        == []
    )
    assert problems([], SYMBOLS, ACCOUNTS, (), PORTS, {}) != [], "no symbol would be traded"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"symbols": ["TEST", "AAPL", "MSFT"]}, "symbol MSFT is of partition alpha and of beta: keep one of them"),
        ({"symbols": ["TEST"]}, "symbol AAPL is of no partition"),
        ({"symbols": ["TEST", "AAPL", "AAPL"]}, "partition alpha has symbol AAPL twice"),
        ({"symbols": ["TEST", "AAPL", "IBM"]}, "partition alpha has symbol IBM, which is none of trading_engine_sym"),
        ({"symbols": []}, "partition alpha needs a list of one or more names as its symbols"),
        ({"symbols": "TEST"}, "partition alpha needs a list of one or more names as its symbols"),
        ({"name": "beta"}, "partition beta is there twice"),
        ({"name": "Alpha"}, "partition 1 has the name 'Alpha': give it one of 1 to 16 small letters"),
        ({"name": "alpha-"}, "partition 1 has the name 'alpha-'"),
        ({"name": "../alpha"}, "partition 1 has the name '../alpha'"),
        ({"name": "a" * 17}, "partition 1 has the name"),
        ({"name": "journal"}, "none of itch, journal"),
        ({"region": "us-east-1"}, "partition alpha has region, which nobody knows; known are accounts, "),
        ({"zone": "us-east-1"}, "partition alpha has 'us-east-1' as its zone: write it as us-east-1a, or leave it out"),
        ({"zone": ["us-east-1a"]}, "partition alpha has ['us-east-1a'] as its zone"),
        ({"zone": ""}, "partition alpha has '' as its zone"),
        ({"type": "large"}, "partition alpha has 'large' as its type: write it as c6g.large, or leave it out"),
        ({"type": 6}, "partition alpha has 6 as its type"),
        ({"size": 2}, "partition alpha asks for a group of 2 hosts: its one book is on one."),
        ({"hosts": ["host-1", "host-2"]}, "partition alpha names 2 hosts: its one book is on one, so name that"),
        ({"hosts": []}, "partition alpha names 0 hosts"),
        ({"hosts": "host-1"}, "partition alpha needs a list of a host's name, or of its number from 1, as its hosts"),
        ({"hosts": ["host-3"]}, "partition alpha is on host host-3, which is none of host-1"),
        ({"hosts": [2]}, "partition alpha is on host 2, which is none of host-1"),
        ({"hosts": [0]}, "partition alpha is on host 0, which is none of host-1"),
        ({"accounts": ["DESK2"]}, "partition alpha has account DESK2, which is none of trading_engine_accounts"),
        ({"test_symbol": "MSFT"}, "partition alpha has the test_symbol MSFT, which is none of its symbols"),
        ({"pinned": "no"}, "partition alpha has 'no' as pinned, which is true or false"),
        ({"order_port": 9012}, "on host-1 is the order_port of partition alpha and the feed_port of partition beta"),
        ({"feed_port": 9001}, "on host-1 is the order_port of partition alpha and the feed_port of partition alpha"),
        ({"feed_port": 8000}, "port 8000 is the feed_port of partition alpha and that of telemetry"),
        ({"order_port": 0}, "partition alpha has 0 as its order_port: a port is a number from 1 to 65535"),
        ({"order_port": "x"}, "partition alpha has 'x' as its order_port"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(changed: dict[str, Any], said: str) -> None:
    (found,) = [sentence for sentence in wrong({**ALPHA, **changed}, BETA) if said in sentence]
    assert found


@pytest.mark.parametrize("declared", ["alpha", {"alpha": ["TEST"]}, ["alpha"]])
def test_a_list_of_another_form_is_named(declared: Any) -> None:
    (said,) = problems(declared, SYMBOLS, ACCOUNTS, ONE, PORTS, {})
    assert "partition" in said
    with pytest.raises(ValueError, match="trading_partitions: "):
        partitions(declared)


def test_with_several_hosts_a_partition_says_which_is_its() -> None:
    said = wrong(ALPHA, {**BETA, "hosts": [2]}, hosts=("host-10", "host-2"))
    assert said == [
        "partition alpha does not say on which host it is: name one of host-2, host-10 as its hosts",
        "host host-2 has no partition, and no engine would run there",
    ]


def test_a_host_without_a_partition_is_named() -> None:
    said = wrong({**ALPHA, "hosts": [1]}, {**BETA, "hosts": [1]}, hosts=("host-1", "host-2"))
    assert said == ["host host-2 has no partition, and no engine would run there"]


def test_the_same_ports_on_two_hosts_are_no_collision() -> None:
    ports = {"order_port": 9001, "feed_port": 9002}
    assert wrong({**ALPHA, "hosts": [1]}, {**BETA, **ports, "hosts": [2]}, hosts=("host-1", "host-2")) == []
    assert len(wrong(ALPHA, {**BETA, **ports})) == 2


@pytest.mark.parametrize("hosts", [ONE, ()])
def test_one_host_is_in_one_zone_and_of_one_type(hosts: tuple[str, ...]) -> None:
    alpha = {**ALPHA, "hosts": [1], "zone": "us-east-1a", "type": "c6g.large"}
    assert wrong(alpha, {**BETA, "hosts": [1], "zone": "us-east-1a"}, hosts=hosts) == []
    name = hosts[0] if hosts else "1"
    assert wrong(alpha, {**BETA, "hosts": [1], "zone": "us-gov-west-1b", "type": "u-6tb1.metal"}, hosts=hosts) == [
        f"host {name} would be us-gov-west-1b by the zone of partition beta, and us-east-1a by that of alpha: "
        "give both the same, or hosts of their own",
        f"host {name} would be u-6tb1.metal by the type of partition beta, and c6g.large by that of alpha: "
        "give both the same, or hosts of their own",
    ]


def test_partitions_without_a_host_yet_may_have_zones_and_types_of_their_own() -> None:
    declared = [{**ALPHA, "zone": "us-east-1a", "type": "c6g.large"}, {**BETA, "zone": "us-west-2-lax-1b"}]
    assert wrong(*declared, hosts=()) == []
    assert [(each["zone"], each["type"]) for each in partitions(declared)] == [
        ("us-east-1a", "c6g.large"),
        ("us-west-2-lax-1b", ""),
    ]


@pytest.mark.parametrize(
    ("table", "key"),
    [("journal", "directory"), ("shared_memory", "path"), ("order_entry", "port"), ("admin", "socket")],
)
def test_a_setting_for_all_of_what_each_has_of_its_own_is_refused(table: str, key: str) -> None:
    said = f"trading_engine_settings has {table}.{key}, which each partition has of its own: leave it out"
    assert wrong(ALPHA, BETA, settings={table: {key: "x"}, "journal_": {}}) == [said]
    assert wrong(ALPHA, BETA, settings={"journal": {"durability": "disk"}}) == []


def test_the_names_of_the_one_engine_are_those_that_it_has_without_partitions() -> None:
    assert names_of("") == {
        "name": "",
        "unit": "trading-engine.service",
        "feed_unit": "trading-feed.service",
        "config": "/etc/trading/engine.toml",
        "accounts_file": "/etc/trading/accounts.toml",
        "state": "/var/lib/trading",
        "journal": "/var/lib/trading/journal",
        "itch": "/var/lib/trading/itch",
        "shared_memory": "/run/trading/engine.shm",
        "admin_socket": "/run/trading/admin.sock",
    }


def test_each_partition_has_units_files_and_ports_of_its_own() -> None:
    alpha, beta = partitions([ALPHA, {**BETA, "feed_port": "9500"}], hosts=ONE)
    names = names_of("alpha")
    assert not [key for key in names if alpha[key] == beta[key] or alpha[key] == names_of("")[key]]
    assert alpha["unit"] == "trading-engine@alpha.service"
    assert alpha["shared_memory"] == "/run/trading/engine-alpha.shm"
    assert alpha["journal"] == "/var/lib/trading/alpha/journal"
    assert (alpha["order_port"], alpha["feed_port"], beta["order_port"], beta["feed_port"]) == (9001, 9002, 9011, 9500)
    assert (alpha["test_symbol"], beta["test_symbol"]) == ("TEST", "")


def test_a_host_has_those_that_name_it_by_name_or_number() -> None:
    hosts = ["host-10", "host-2", "host-1"]
    declared = [{**ALPHA, "hosts": [3]}, {**BETA, "hosts": ["host-2"]}]
    assert [partition["name"] for partition in partitions(declared, "host-10", hosts)] == ["alpha"]
    assert [partition["name"] for partition in partitions(declared, "host-2", hosts)] == ["beta"]
    assert partitions(declared, "host-1", hosts) == []
    assert [partition["order_port"] for partition in partitions(declared, "", hosts, "9101", "9102")] == [9101, 9111]


def test_those_with_cpus_of_their_own_share_the_engine_s_in_turn() -> None:
    declared = [ALPHA, {**BETA, "pinned": False}, {"name": "gamma", "symbols": ["IBM"]}]
    assert [partition["share"] for partition in partitions(declared, hosts=ONE)] == [[0, 2], None, [1, 2]]


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,4}", fullmatch=True).filter(lambda name: not name.endswith("-"))


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True))
def test_what_is_not_refused_shares_no_file_unit_or_port(names: list[str]) -> None:
    symbols = [{"name": f"S{number}"} for number in range(len(names))]
    declared = [{"name": name, "symbols": [f"S{number}"]} for number, name in enumerate(names)]
    if not problems(declared, symbols, [], ONE, PORTS, {}):
        found = partitions(declared, hosts=ONE)
        own = [str(one[key]) for one in found for key in (*names_of("x"), "order_port", "feed_port")]
        assert len(set(own)) == len(own)


def test_what_moves_is_said_by_who_gets_and_who_gives() -> None:
    had = {"alpha": ["TEST", "AAPL"], "beta": ["MSFT"]}
    moved = moves([{**ALPHA, "symbols": ["TEST"]}, {**BETA, "symbols": ["MSFT", "AAPL"]}], had)
    assert moved == {"gaining": ["beta"], "others": ["alpha"], "both": [], "new": []}
    exchanged = moves([{**ALPHA, "symbols": ["TEST", "MSFT"]}, {**BETA, "symbols": ["AAPL", "IBM"]}], had)
    assert exchanged == {"gaining": ["alpha", "beta"], "others": [], "both": ["alpha", "beta"], "new": ["IBM"]}
    assert moves([], had) == {"gaining": [], "others": [], "both": [], "new": []}


def test_a_port_is_taken_on_a_host_even_before_its_name_is_known() -> None:
    same = {**BETA, "hosts": [2], "order_port": 9001}
    assert wrong({**ALPHA, "hosts": [1]}, same, hosts=()) == []
    (said,) = wrong({**ALPHA, "hosts": [2]}, same, hosts=())
    assert "port 9001 on 2 is the order_port of partition alpha and the order_port of partition beta" in said


ENGINES = {"alpha": ["TEST", "AAPL"], "beta": ["TEST2", "MSFT"]}
CANARIES = {"alpha": "", "beta": "TEST2"}
DECLARED: list[dict[str, Any]] = [
    {"name": "alpha", "symbols": ["TEST", "AAPL"]},
    {"name": "beta", "symbols": ["TEST2", "MSFT"], "test_symbol": "TEST2"},
]
MOVED = [{**DECLARED[0], "symbols": ["TEST", "AAPL", "MSFT"]}, {**DECLARED[1], "symbols": ["TEST2"]}]


@pytest.mark.parametrize(
    ("symbol", "to", "said"),
    [
        ("", "alpha", "say which symbol moves where, by trading_engine_move_symbol and trading_engine_move_to"),
        ("MSFT", "", "say which symbol moves where, by trading_engine_move_symbol and trading_engine_move_to"),
        ("MSFT", "gamma", "partition gamma is none of alpha, beta"),
        ("IBM", "alpha", "symbol IBM is none of TEST, AAPL, TEST2, MSFT"),
        ("TEST2", "alpha", "symbol TEST2 is the test_symbol of beta: give beta another one first, by configure.yml"),
        (
            "MSFT",
            "alpha",
            "trading_partitions has MSFT at beta, and the next site.yml would bring it back there. Write symbols: "
            "[TEST, AAPL, MSFT] at alpha and symbols: [TEST2] at beta, and run this again",
        ),
    ],
)
def test_a_move_that_the_partitions_do_not_say_is_refused_with_what_to_write(symbol: str, to: str, said: str) -> None:
    assert move(partitions(DECLARED), symbol, to) == {"problems": [said], "giver": ""}


def test_without_partitions_nothing_moves() -> None:
    assert move([], "MSFT", "alpha")["problems"] == ["partition alpha is none of trading_partitions, which is empty"]


def test_who_has_the_symbol_gives_it_up_and_once_it_is_there_nobody_has_to() -> None:
    assert move(partitions(MOVED), "MSFT", "alpha") == {"problems": [], "giver": ""}, "nobody has asked the hosts"
    assert move(partitions(MOVED), "MSFT", "alpha", ENGINES) == {"problems": [], "giver": "beta"}
    there = {each["name"]: each["symbols"] for each in MOVED}
    assert move(partitions(MOVED), "MSFT", "alpha", there) == {"problems": [], "giver": ""}


@pytest.mark.parametrize(
    ("declared", "symbol", "had", "said"),
    [
        (MOVED, "MSFT", {}, "do not have the same partitions (alpha, beta): run configure.yml first"),
        (MOVED, "MSFT", {"": ["MSFT"]}, "(the one engine without partitions, alpha, beta)"),
        (MOVED[:1], "MSFT", ENGINES, "do not have the same partitions (beta)"),
        (MOVED, "MSFT", {**ENGINES, "beta": ["TEST2"]}, "no engine's configuration has MSFT: configure.yml sets a new"),
        (
            MOVED,
            "MSFT",
            {**ENGINES, "beta": ["TEST2"]},
            "After a move that was broken off, run it after the day's end, with trading_engine_restart=always",
        ),
        (
            MOVED,
            "MSFT",
            {**ENGINES, "alpha": ["TEST", "AAPL", "MSFT"]},
            "both alpha and beta have MSFT in their configurations: run configure.yml after the day's end",
        ),
        (MOVED, "AAPL", ENGINES, "trading_partitions also changes other symbols of alpha, beta: move one"),
        (
            [MOVED[0], {**MOVED[1], "symbols": ["TEST2", "IBM"]}],
            "MSFT",
            ENGINES,
            "trading_partitions also changes other symbols of beta: move one symbol in a run, or run configure.yml",
        ),
        (
            [{"name": "alpha", "symbols": ["AAPL"]}, {"name": "beta", "symbols": ["TEST2", "MSFT", "TEST"]}],
            "TEST",
            ENGINES,
            "symbol TEST is the test_symbol of alpha: give alpha another one first",
        ),
        (
            MOVED,
            "MSFT",
            {**ENGINES, "beta": ["MSFT"]},
            "symbol MSFT is the only one of beta: take beta out of trading_partitions",
        ),
    ],
)
def test_a_move_that_the_engines_do_not_fit_is_refused(
    declared: list[dict[str, Any]], symbol: str, had: dict[str, list[str]], said: str
) -> None:
    to = next(each["name"] for each in declared if symbol in each["symbols"])
    problems_told = move(partitions(declared), symbol, to, had, CANARIES)["problems"]
    assert any(said in problem for problem in problems_told), problems_told
