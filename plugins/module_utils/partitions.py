# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that complete and check partitions: groups of symbols with an engine, a feed, files, ports and CPUs.

Filters and roles use the names, files and ports that follow from the list `trading_partitions`. The functions only
compute: they read and change nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TEST_SYMBOL = "TEST"
PORT_STEP = 10
# `size` is for partitions whose host an Auto Scaling group replaces; see plugins/module_utils/aws/fleet.py.
_FIELDS = {
    *("name", "symbols", "hosts", "accounts", "test_symbol", "order_port", "feed_port", "pinned"),
    *("zone", "type", "size"),
}
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,14}[a-z0-9])?")
# Zones and types in the form of AWS: us-east-1a, us-gov-west-1a, us-west-2-lax-1a; c6g.large, u-6tb1.metal.
_ZONE = re.compile(r"[a-z]{2}(?:-[a-z0-9]+)+-[0-9]+[a-z]")
_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
# No partition may have these names: they are directories below /var/lib/trading on a host without partitions.
_RESERVED = ("itch", "journal")
# Settings whose value each partition gets from its name or its entry. A common value would make two engines share it.
_OWN_SETTINGS = (
    ("accounts", "file"),
    ("admin", "socket"),
    ("canary", "symbol"),
    ("itch", "directory"),
    ("journal", "directory"),
    ("market_data", "port"),
    ("order_entry", "port"),
    ("shared_memory", "path"),
)


def names_of(partition: str) -> dict[str, str]:
    """Return a dictionary with the names of a partition's units and files. Each key says what the name is for.

    An empty partition name stands for the only engine of a host without partitions.
    """
    suffix, instance = (f"-{partition}", f"@{partition}") if partition else ("", "")
    state = f"/var/lib/trading/{partition}".rstrip("/")
    return {
        "name": partition,
        "unit": f"trading-engine{instance}.service",
        "feed_unit": f"trading-feed{instance}.service",
        "config": f"/etc/trading/engine{suffix}.toml",
        "accounts_file": f"/etc/trading/accounts{suffix}.toml",
        "state": state,
        "journal": f"{state}/journal",
        "itch": f"{state}/itch",
        "shared_memory": f"/run/trading/engine{suffix}.shm",
        "admin_socket": f"/run/trading/admin{suffix}.sock",
    }


def complete(partitions: Any, hosts: Sequence[str], order_port: Any, feed_port: Any) -> list[dict[str, Any]]:
    """Return each partition as a dictionary with its host, its symbols, its ports and the names of its units and files.

    `host` is empty while `hosts` does not contain the partition's host. `zone` and `type` are empty where those of the
    environment apply. `share` is None for a partition without CPUs of its own. Otherwise it is [position, number]. The
    number counts the partitions of the host that have CPUs of their own. The position is the partition's place among
    them. Raises ValueError for a malformed list.
    """
    if wrong := list(_form(partitions)):
        raise ValueError(f"trading_partitions: {'; '.join(wrong)}")
    found = [
        {
            **names_of(entry["name"]),
            "host": _host(entry, hosts),
            "symbols": list(entry["symbols"]),
            "accounts": entry.get("accounts"),
            "test_symbol": entry.get("test_symbol", TEST_SYMBOL if TEST_SYMBOL in entry["symbols"] else ""),
            "order_port": int(entry.get("order_port", int(order_port) + PORT_STEP * number)),
            "feed_port": int(entry.get("feed_port", int(feed_port) + PORT_STEP * number)),
            "pinned": entry.get("pinned", True),
            "zone": entry.get("zone", ""),
            "type": entry.get("type", ""),
        }
        for number, entry in enumerate(partitions)
    ]
    for partition in found:
        beside = [each["name"] for each in found if each["pinned"] and each["host"] == partition["host"]]
        partition["share"] = [beside.index(partition["name"]), len(beside)] if partition["pinned"] else None
    return found


def problems(
    partitions: Any,
    symbols: Sequence[Mapping[str, Any]],
    accounts: Sequence[Mapping[str, Any]],
    hosts: Sequence[str],
    ports: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> list[str]:
    """Return one sentence for each problem of the partitions.

    An empty `hosts` means that the hosts are not known yet; then hosts are not checked. `ports` maps the names of
    services to ports. The partitions' ports are counted from its ports `order` and `feed`. Its other ports are those of
    other services on each host. `settings` are the settings that apply to all engines.
    """
    if wrong := list(_form(partitions)):
        return wrong
    order_port, feed_port = ports["order"], ports["feed"]
    found = complete(partitions, hosts, order_port, feed_port)
    others = {name: int(port) for name, port in ports.items() if name not in ("order", "feed")}
    return [
        *_twice(found),
        *_symbols(found, [str(symbol.get("name")) for symbol in symbols]),
        *_accounts(found, [str(account.get("name")) for account in accounts]),
        *_hosts(partitions, hosts),
        *_ports(found, partitions, others),
        *_machines(found, partitions),
        *_settings(settings),
    ]


def moves(partitions: Sequence[Mapping[str, Any]], had: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return which partitions of a host get symbols from the new list, and which lose some.

    `had` maps each partition to its present symbols. The result has four lists. `gaining` are the partitions that get
    symbols, and `others` are the rest. `both` are the gaining partitions that also lose symbols. `new` are the symbols
    that no engine of the host has yet.
    """
    there = {symbol for symbols in had.values() for symbol in symbols}
    wanted = {partition["name"]: partition["symbols"] for partition in partitions}
    gaining = [name for name, symbols in wanted.items() if set(symbols) - set(had.get(name, ()))]
    return {
        "gaining": gaining,
        "others": [name for name in wanted if name not in gaining],
        "both": [name for name in gaining if set(had.get(name, ())) - set(wanted[name])],
        "new": sorted({symbol for symbols in wanted.values() for symbol in symbols} - there),
    }


def move(
    partitions: Sequence[Mapping[str, Any]],
    symbol: str,
    to: str,
    had: Mapping[str, Sequence[str]] | None = None,
    canaries: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a dictionary about the move of a symbol to a partition, with the keys `problems` and `giver`.

    `problems` says why the move is impossible. `giver` is the partition that has the symbol now. `partitions` are those
    of all hosts and have no problems. `had` maps each partition to the symbols of its engine. `canaries` maps each
    partition to its engine's test symbol. Both are None before the hosts were queried, and `giver` is empty then. It is
    also empty when the symbol is already at its new partition.
    """
    wanted = {partition["name"]: list(partition["symbols"]) for partition in partitions}
    owner = "".join(name for name, symbols in wanted.items() if symbol in symbols)
    if not symbol or not to:
        wrong = ["say which symbol moves where, by trading_engine_move_symbol and trading_engine_move_to"]
    elif to not in wanted:
        wrong = [f"partition {to} is none of {', '.join(wanted) or 'trading_partitions, which is empty'}"]
    elif not owner:
        wrong = [f"symbol {symbol} is none of {', '.join(name for symbols in wanted.values() for name in symbols)}"]
    elif owner != to:
        canary = next(partition["test_symbol"] for partition in partitions if partition["name"] == owner)
        wrong = list(_kept(symbol, owner, wanted[owner], canary)) or [
            f"trading_partitions has {symbol} at {owner}, and the next site.yml would bring it back there. Write "
            f"symbols: [{', '.join(wanted[to] + [symbol])}] at {to} and symbols: "
            f"[{', '.join(name for name in wanted[owner] if name != symbol)}] at {owner}, and run this again"
        ]
    else:
        wrong = []
        if had is not None:
            return _move_on_hosts(wanted, symbol, to, had, canaries or {})
    return {"problems": wrong, "giver": ""}


def _move_on_hosts(
    wanted: Mapping[str, Sequence[str]],
    symbol: str,
    to: str,
    had: Mapping[str, Sequence[str]],
    canaries: Mapping[str, str],
) -> dict[str, Any]:
    """Return the result of `move` for a symbol that trading_partitions already lists at its new partition."""
    wrong = []
    having = [name for name, symbols in had.items() if symbol in symbols]
    giver = having[0] if having else ""
    if others := sorted(set(wanted) ^ set(had)):
        engines = ", ".join(name or "the one engine without partitions" for name in others)
        wrong.append(
            f"hosts and trading_partitions do not have the same partitions ({engines}): run configure.yml first"
        )
    elif not giver:
        wrong.append(
            f"no engine's configuration has {symbol}: configure.yml sets a new symbol up. After a move that was broken "
            "off, run it after the day's end, with trading_engine_restart=always"
        )
    elif len(having) > 1:
        wrong.append(
            f"both {' and '.join(having)} have {symbol} in their configurations: run configure.yml after the day's "
            "end, with trading_engine_restart=always"
        )
    else:
        before = {name: set(symbols) for name, symbols in had.items()}
        before[giver].discard(symbol)
        before[to].add(symbol)
        if others := sorted(name for name, symbols in before.items() if symbols != set(wanted[name])):
            wrong.append(
                f"trading_partitions also changes other symbols of {', '.join(others)}: move one symbol in a run, or "
                "run configure.yml first"
            )
        if giver != to:
            wrong += _kept(symbol, giver, had[giver], canaries.get(giver, ""))
    return {"problems": wrong, "giver": "" if giver == to else giver}


def _kept(symbol: str, giver: str, symbols: Sequence[str], canary: str) -> Iterator[str]:
    """Yield one sentence for each reason why a partition cannot lose a symbol."""
    if symbol == (canary or TEST_SYMBOL):
        yield f"symbol {symbol} is the test_symbol of {giver}: give {giver} another one first, by configure.yml"
    if set(symbols) == {symbol}:
        yield (
            f"symbol {symbol} is the only one of {giver}: take {giver} out of trading_partitions, after the day's end, "
            "and run configure.yml"
        )


def _form(partitions: Any) -> Iterator[str]:
    """Yield one sentence for each error in the structure of the list of partitions.

    The function `problems` then checks the content of a list without such errors.
    """
    if not isinstance(partitions, (list, tuple)):
        yield "it is no list of partitions, each with name and symbols"
        return
    for number, entry in enumerate(partitions, 1):
        if not isinstance(entry, Mapping):
            yield f"partition {number} is no dictionary with name and symbols"
            continue
        name = entry.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
            yield (
                f"partition {number} has the name {name!r}: give it one of 1 to 16 small letters, digits and -, "
                f"a letter first and no - last, and none of {', '.join(_RESERVED)}"
            )
            continue
        yield from (f"partition {name} {wrong}" for wrong in _form_of_one(entry))


def _form_of_one(entry: Mapping[str, Any]) -> Iterator[str]:
    if unknown := sorted(set(map(str, entry)) - _FIELDS):
        yield f"has {', '.join(unknown)}, which nobody knows; known are {', '.join(sorted(_FIELDS))}"
    for key in ("symbols", "accounts"):
        if key in entry or key == "symbols":
            values = entry.get(key)
            if not isinstance(values, (list, tuple)) or not values or not all(isinstance(text, str) for text in values):
                yield f"needs a list of one or more names as its {key}"
    if "hosts" in entry:
        hosts = entry["hosts"]
        if not isinstance(hosts, (list, tuple)) or not all(_is_host(host) for host in hosts):
            yield "needs a list of a host's name, or of its number from 1, as its hosts"
        elif len(hosts) != 1:
            yield f"names {len(hosts)} hosts: its one book is on one, so name that"
    for key in ("order_port", "feed_port"):
        if key in entry and not (str(entry[key]).isdecimal() and 0 < int(entry[key]) < 65536):
            yield f"has {entry[key]!r} as its {key}: a port is a number from 1 to 65535"
    if not isinstance(entry.get("test_symbol", ""), str):
        yield "needs the name of one of its symbols as its test_symbol"
    if str(entry.get("size", 1)) != "1":
        yield f"asks for a group of {entry['size']} hosts: its one book is on one. Give some of its symbols to another"
    if not isinstance(entry.get("pinned", True), bool):
        yield f"has {entry['pinned']!r} as pinned, which is true or false"
    for key, form, example in (("zone", _ZONE, "us-east-1a"), ("type", _TYPE, "c6g.large")):
        if key in entry and not (isinstance(entry[key], str) and form.fullmatch(entry[key])):
            yield f"has {entry[key]!r} as its {key}: write it as {example}, or leave it out"


def _is_host(host: object) -> bool:
    return isinstance(host, (str, int)) and not isinstance(host, bool)


def _in_order(hosts: Sequence[str]) -> list[str]:
    """Return the hosts in numerical order: trading-demo-2 before trading-demo-10."""
    return sorted(hosts, key=lambda name: [part.zfill(9) for part in re.split(r"(\d+)", name)])


def _host(entry: Mapping[str, Any], hosts: Sequence[str]) -> str:
    """Return the name of the partition's host, or an empty text when it is unknown."""
    if "hosts" not in entry:
        return hosts[0] if len(hosts) == 1 else ""
    (host,) = entry["hosts"]
    if str(host).isdecimal():
        return _in_order(hosts)[int(host) - 1] if 1 <= int(host) <= len(hosts) else ""
    return str(host)


def _twice(found: list[dict[str, Any]]) -> Iterator[str]:
    names = [partition["name"] for partition in found]
    yield from (f"partition {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1)


def _symbols(found: list[dict[str, Any]], known: list[str]) -> Iterator[str]:
    owners: dict[str, str] = {}
    for partition in found:
        name = partition["name"]
        for symbol in partition["symbols"]:
            if symbol not in known:
                yield f"partition {name} has symbol {symbol}, which is none of trading_engine_symbols"
            elif owners.get(symbol) == name:
                yield f"partition {name} has symbol {symbol} twice"
            elif symbol in owners:
                yield f"symbol {symbol} is of partition {owners[symbol]} and of {name}: keep one of them"
            owners.setdefault(symbol, name)
        test = partition["test_symbol"]
        if test and test not in partition["symbols"]:
            yield f"partition {name} has the test_symbol {test}, which is none of its symbols"
    yield from (f"symbol {symbol} is of no partition" for symbol in known if symbol not in owners)


def _accounts(found: list[dict[str, Any]], known: list[str]) -> Iterator[str]:
    for partition in found:
        for account in partition["accounts"] or []:
            if account not in known:
                yield f"partition {partition['name']} has account {account}, which is none of trading_engine_accounts"


def _hosts(partitions: Sequence[Mapping[str, Any]], hosts: Sequence[str]) -> Iterator[str]:
    if not hosts:
        return
    there = ", ".join(_in_order(hosts))
    for entry in partitions:
        host = _host(entry, hosts)
        if host in hosts:
            continue
        if "hosts" not in entry:
            yield f"partition {entry['name']} does not say on which host it is: name one of {there} as its hosts"
        else:
            yield f"partition {entry['name']} is on host {entry['hosts'][0]}, which is none of {there}"
    used = {_host(entry, hosts) for entry in partitions}
    yield from (f"host {host} has no partition, and no engine would run there" for host in hosts if host not in used)


def _ports(
    found: list[dict[str, Any]], declared: Sequence[Mapping[str, Any]], others: Mapping[str, int]
) -> Iterator[str]:
    taken: dict[tuple[str, int], str] = {}
    for partition, entry in zip(found, declared):
        host = _place(partition, entry)
        for kind in ("order_port", "feed_port"):
            port, whose = partition[kind], f"{kind} of partition {partition['name']}"
            if port > 65535:
                yield f"the {whose} would be {port}, which is no port: give it one"
            for other in (other for other, used in others.items() if used == port):
                yield f"port {port} is the {whose} and that of {other}: give the partition another"
            place = (host, port)
            if place in taken:
                where = f" on {host}" if host else ""
                yield f"port {port}{where} is the {taken[place]} and the {whose}: give one of them another"
            taken.setdefault(place, whose)


def _place(partition: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Return the partition's host, or its declared number of the host while the names of hosts are unknown.

    Return an empty text when neither is known.
    """
    return partition["host"] or "".join(map(str, entry.get("hosts", ())))


def _machines(found: list[dict[str, Any]], declared: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each host whose partitions specify different zones or different instance types."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for partition, entry in zip(found, declared):
        host = _place(partition, entry)
        for key in ("zone", "type"):
            if not host or not partition[key]:
                continue
            other = first.setdefault((host, key), partition)
            if other[key] != partition[key]:
                yield (
                    f"host {host} would be {partition[key]} by the {key} of partition {partition['name']}, and "
                    f"{other[key]} by that of {other['name']}: give both the same, or hosts of their own"
                )


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    for table, key in _OWN_SETTINGS:
        if key in (settings.get(table) or {}):
            yield f"trading_engine_settings has {table}.{key}, which each partition has of its own: leave it out"
