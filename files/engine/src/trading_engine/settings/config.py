"""The engine's configuration: engine.toml and accounts.toml.

They are checked completely before the engine starts or reloads them. The feed reads the same files.
"""

from __future__ import annotations

import os
import re
import secrets
from copy import copy
from dataclasses import asdict, dataclass, field
from datetime import UTC, tzinfo
from importlib import resources
from pathlib import Path
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trading_engine.settings import passwords
from trading_engine.settings.tables import ConfigError, Table, load
from trading_engine.wire import ouch, soupbintcp

GIGABYTE = 1 << 30
CANARY_ACCOUNT = "CANARY"
DEFAULT_FIRM = "HOUSE"
_DEFAULT_MPID = "HOUS"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and port to listen on.

    This host's TLS proxy connects to `proxy_port` instead, and sends the addresses of its clients. If `proxy_port` is
    0, there is no proxy.
    """

    address: str
    port: int
    proxy_port: int = 0


@dataclass(frozen=True, slots=True)
class JournalConfig:
    directory: Path
    durability: str
    segment_bytes: int
    budget_bytes: int
    reserve_bytes: int


@dataclass(frozen=True, slots=True)
class ItchConfig:
    directory: Path
    budget_bytes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of an account, which are checked before an order is accepted. 0 means no limit."""

    max_order_shares: int
    max_order_notional: int
    collar_percent: int
    max_open_orders: int
    max_exposure: int
    max_orders_per_second: int
    duplicate_orders: int
    duplicate_window_ms: int


@dataclass(frozen=True, slots=True)
class Firms:
    """The MPIDs of each firm, and the firm of accounts that name no firm. An MPID is a firm's id in market data."""

    mpids: dict[str, tuple[str, ...]]
    default: str


@dataclass(frozen=True, slots=True)
class Account:
    """A client's account.

    Its orders may be published under any of `mpids`. An order that names no MPID gets the first one.
    """

    name: str
    password_hash: str = field(repr=False)
    test: bool
    tokens: str
    self_match: str
    self_match_within: str
    firm: str
    mpids: tuple[str, ...]
    cancel_on_disconnect: bool
    limits: Limits

    def core_settings(self) -> dict[str, Any]:
        """Return the account's settings that affect the answers to its orders, as JSON values."""
        settings = asdict(self)
        del settings["password_hash"], settings["name"]
        return settings


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol and its settings.

    If its tick is 0, the tick is a cent for prices from a dollar on, and 1/100 of a cent below.
    """

    name: str
    reference_price_e4: int
    restricted: bool
    tick_e4: int
    lot_shares: int


@dataclass(frozen=True, slots=True)
class EngineConfig:
    order_entry: Endpoint
    market_data: Endpoint
    event_loop: str
    busy_poll: bool
    second_login: str
    retention_bytes: int
    reconnect_grace_s: int
    slow_client_bytes: int
    journal: JournalConfig
    itch: ItchConfig
    shared_memory: Path
    admin_socket: Path
    zone: tzinfo
    daily: bool
    firms: Firms
    accounts: dict[str, Account]
    symbols: tuple[Symbol, ...]
    canary_symbol: str
    _by_login: dict[str, Account] = field(init=False, repr=False)
    _canary_terms: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_login = {name.upper(): account for name, account in self.accounts.items()}
        object.__setattr__(self, "_by_login", by_login)
        terms: dict[str, int] = {}
        for symbol in self.symbols:
            if symbol.name == self.canary_symbol:
                terms = {"the canary's symbol's tick": symbol.tick_e4, "the canary's symbol's lot": symbol.lot_shares}
        object.__setattr__(self, "_canary_terms", terms)

    def taking_over(
        self,
        accounts: dict[str, Account],
        by_login: dict[str, Account],
        symbols: tuple[Symbol, ...],
        firms: Firms,
    ) -> EngineConfig:
        """Return a copy of the configuration with these accounts, symbols and firms, for a reload.

        They must have been checked before. A check here would delay all clients, because this method runs in the
        engine's event loop. `by_login` maps names in capitals to the accounts that can log in.
        """
        other = copy(self)
        object.__setattr__(other, "accounts", accounts)
        object.__setattr__(other, "_by_login", by_login)
        object.__setattr__(other, "symbols", symbols)
        object.__setattr__(other, "firms", firms)
        return other

    def account_of(self, login: str) -> Account | None:
        """Return the account with this name, or None. Upper and lower case do not matter."""
        return self._by_login.get(login.upper())

    @property
    def feed_ring(self) -> Path:
        """The path of the shared memory in which the engine writes market data for the feed.

        See `published.ring`.
        """
        return self.shared_memory.with_name(f"{self.shared_memory.name}.feed")

    @property
    def feed_bell(self) -> Path:
        """The path of the named pipe by which the engine wakes the feed. See `published.ring`."""
        return self.shared_memory.with_name(f"{self.shared_memory.name}.bell")

    def core_settings(self) -> dict[str, Any]:
        """Return the settings that affect the engine's answers, as JSON values. The journal records them."""
        accounts = {name: account.core_settings() for name, account in self.accounts.items()}
        return {"accounts": accounts, "symbols": [asdict(symbol) for symbol in self.symbols]}

    def fixed(self) -> dict[str, str]:
        """Return a dictionary: setting → its value as text, for the settings that a reload cannot change.

        A setting is named as in "[order_entry] port".
        """
        journal, itch = self.journal, self.itch
        values = {
            "[order_entry] address": self.order_entry.address,
            "[order_entry] port": self.order_entry.port,
            "[order_entry] proxy_port": self.order_entry.proxy_port,
            "[order_entry] event_loop": self.event_loop,
            "[order_entry] busy_poll": self.busy_poll,
            "[order_entry] second_login": self.second_login,
            "[order_entry] retention_bytes": self.retention_bytes,
            "[order_entry] reconnect_grace_s": self.reconnect_grace_s,
            "[order_entry] slow_client_bytes": self.slow_client_bytes,
            "[market_data] address": self.market_data.address,
            "[market_data] port": self.market_data.port,
            "[market_data] proxy_port": self.market_data.proxy_port,
            **{f"[journal] {key}": value for key, value in asdict(journal).items()},
            **{f"[itch] {key}": value for key, value in asdict(itch).items()},
            "[shared_memory] path": self.shared_memory,
            "[admin] socket": self.admin_socket,
            "[day] zone": self.zone,
            "[day] automatic": self.daily,
            "[canary] symbol": self.canary_symbol,
            **self._canary_terms,
        }
        return {name: str(value) for name, value in values.items()}


def example() -> str:
    """Return the text of a commented engine.toml that works. It has an account with a new random password."""
    password = secrets.token_urlsafe(6)
    text = (resources.files("trading_engine.settings") / "example.toml").read_text(encoding="utf-8")
    return text.replace("@PASSWORD@", password).replace("@HASH@", passwords.hash_password(password))


def read(path: Path) -> EngineConfig:
    """Return the configuration in the file `path`. Raises ConfigError when the configuration is wrong.

    Relative paths in the file are relative to the file's directory.
    """
    top = Table(str(path), load(path))
    base = path.resolve().parent

    entry = top.table("order_entry")
    order_entry = _endpoint(entry, 9001)
    event_loop = entry.choice("event_loop", ("uvloop", "asyncio"), "uvloop")
    busy_poll = entry.flag("busy_poll", False)
    if busy_poll and len(os.sched_getaffinity(0)) < 2:
        raise ConfigError(
            f"{entry.where}: busy_poll would take the only processor from everybody else; set it to false"
        )
    second_login = entry.choice("second_login", ("refuse", "take_over"), "take_over")
    retention_bytes = entry.integer("retention_bytes", 64 << 20, 1 << 16, 1 << 40)
    reconnect_grace_s = entry.integer("reconnect_grace_s", 10, 0, 3600)
    slow_client_bytes = entry.integer("slow_client_bytes", 4 << 20, 1 << 16, 1 << 30)
    entry.finish()

    data = top.table("market_data")
    market_data = _endpoint(data, 9002)
    data.finish()

    table = top.table("journal")
    journal = JournalConfig(
        base / table.path("directory", "/var/lib/trading/journal"),
        table.choice("durability", ("none", "os", "disk"), "os"),
        table.integer("segment_bytes", 64 << 20, 1 << 16, 1 << 32),
        table.integer("budget_bytes", 2 * GIGABYTE, 4 << 20, 1 << 50),
        table.integer("reserve_bytes", GIGABYTE // 4, 0, 1 << 50),
    )
    if journal.budget_bytes < 4 * journal.segment_bytes:
        raise ConfigError(
            f"{table.where}: budget_bytes must be at least four segments ({4 * journal.segment_bytes}), "
            f"not {journal.budget_bytes}; raise it, or lower segment_bytes"
        )
    table.finish()

    table = top.table("itch")
    itch = ItchConfig(
        base / table.path("directory", "/var/lib/trading/itch"),
        table.integer("budget_bytes", GIGABYTE, 1 << 20, 1 << 50),
    )
    table.finish()

    table = top.table("shared_memory")
    shared_memory = base / table.path("path", "/run/trading/engine.shm")
    table.finish()

    table = top.table("admin")
    admin_socket = base / table.path("socket", "/run/trading/admin.sock")
    table.finish()

    table = top.table("day")
    zone = _zone(table)
    daily = table.flag("automatic", True)
    table.finish()

    table = top.table("risk")
    limits = _limits(table, None)
    table.finish()

    firms = _firms(top)
    accounts = _accounts(top, base, firms, limits)
    symbols = _symbols(top)
    canary_symbol = _canary_symbol(top, accounts, symbols)
    top.finish()
    return EngineConfig(
        order_entry,
        market_data,
        event_loop,
        busy_poll,
        second_login,
        retention_bytes,
        reconnect_grace_s,
        slow_client_bytes,
        journal,
        itch,
        shared_memory,
        admin_socket,
        zone,
        daily,
        firms,
        accounts,
        symbols,
        canary_symbol,
    )


def _endpoint(table: Table, port: int) -> Endpoint:
    endpoint = Endpoint(
        table.address("address", "127.0.0.1"),
        table.integer("port", port, 1, 65535),
        table.integer("proxy_port", 0, 0, 65535),
    )
    if endpoint.proxy_port == endpoint.port:
        raise table.wrong("proxy_port", "another port than port, or 0 for none", endpoint.proxy_port)
    return endpoint


def _zone(table: Table) -> tzinfo:
    name = table.text("zone", "UTC")
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise table.wrong("zone", 'a time zone like "America/New_York" that this machine knows', name) from error


def _limits(table: Table, base: Limits | None) -> Limits:
    def limit(key: str, default: int, highest: int) -> int:
        return table.integer(key, getattr(base, key) if base else default, 0, highest)

    return Limits(
        limit("max_order_shares", 100_000, ouch.MAX_SHARES),
        limit("max_order_notional", 10_000_000, 10**15),
        limit("collar_percent", 10, 10_000),
        limit("max_open_orders", 0, 10**9),
        limit("max_exposure", 0, 10**15),
        limit("max_orders_per_second", 0, 10**9),
        limit("duplicate_orders", 0, 10**6),
        limit("duplicate_window_ms", 1000, 10**6),
    )


def _symbols(top: Table) -> tuple[Symbol, ...]:
    entries = top.take("symbol")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{top.where}: write at least one [[symbol]] with name and reference_price")
    symbols: dict[str, Symbol] = {}
    for number, values in enumerate(entries, 1):
        table = Table(f"{top.where} [[symbol]] number {number}", values)
        name = table.text("name")
        if not re.fullmatch(r"[A-Z0-9.+=^#*$-]{1,8}", name):
            raise table.wrong("name", "1 to 8 capital letters, digits or .+-=^#*$", name)
        if name in symbols:
            raise ConfigError(f"{table.where}: {name} is there twice")
        price_e4 = table.price_e4("reference_price", ouch.MAX_PRICE_E4)
        restricted = table.flag("restricted", False)
        tick_e4 = table.price_e4("tick", ouch.MAX_PRICE_E4, default=0)
        symbols[name] = Symbol(name, price_e4, restricted, tick_e4, table.integer("lot", 1, 1, ouch.MAX_SHARES))
        table.finish()
    if len(symbols) > 65_535:
        raise ConfigError(f"{top.where}: {len(symbols)} symbols; ITCH's stock locate ends at 65535")
    return tuple(symbols.values())


def _canary_symbol(top: Table, accounts: dict[str, Account], symbols: tuple[Symbol, ...]) -> str:
    table = top.table("canary")
    name = table.text("symbol", "")
    if name and name not in {symbol.name for symbol in symbols}:
        raise table.wrong("symbol", "the name of a [[symbol]], or nothing for no canary", name)
    if name and any(account.upper() == CANARY_ACCOUNT for account in accounts):
        raise ConfigError(f"{table.where}: the canary's account is {CANARY_ACCOUNT}; give the other one another name")
    table.finish()
    return name


def _firms(top: Table) -> Firms:
    """Return the firms of the tables [firms] and [firms.NAME]. Raises ConfigError when a firm is wrong."""
    table = top.table("firms")
    default = table.text("default", DEFAULT_FIRM)
    firms: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for name in table.remaining():
        firm = table.table(name)
        firms[name] = _mpids(firm)
        firm.finish()
    if default == DEFAULT_FIRM:
        firms.setdefault(DEFAULT_FIRM, (_DEFAULT_MPID,))
    if default not in firms:
        raise table.wrong("default", f"one of {', '.join(firms) or 'the firms, of which there is none'}", default)
    for name, mpids in firms.items():
        for mpid in mpids:
            if owners.setdefault(mpid, name) != name:
                raise ConfigError(f"{table.where}: {mpid} is an MPID of {owners[mpid]} and of {name}; keep one of them")
    return Firms(firms, default)


def _mpids(table: Table) -> tuple[str, ...]:
    mpids = table.take("mpids")
    wanted = "a list of one or more MPIDs, each 1 to 4 capital letters or digits"
    if not are_mpids(mpids):
        raise table.wrong("mpids", wanted, mpids)
    return tuple(dict.fromkeys(mpids))


def are_mpids(values: object) -> TypeGuard[list[str]]:
    """Return whether the value is a list of one or more MPIDs, each of 1 to 4 capital letters or digits."""
    return (
        isinstance(values, list)
        and bool(values)
        and all(isinstance(value, str) and re.fullmatch(r"[A-Z0-9]{1,4}", value) for value in values)
    )


def _accounts(top: Table, base: Path, firms: Firms, limits: Limits) -> dict[str, Account]:
    """Return the accounts of the tables [accounts.NAME] in engine.toml, and those of the accounts file.

    The table [accounts] of engine.toml names that file. Raises ConfigError when an account is wrong.
    """
    inline = top.table("accounts")
    file = inline.text("file", "")
    accounts = {name: _account(inline, name, firms, limits) for name in inline.remaining()}
    if file or not accounts:
        path = base / (file or "/etc/trading/accounts.toml")
        separate = Table(str(path), load(path))
        tables = separate.table("accounts", required=True)
        separate.finish()
        for name in tables.remaining():
            if name in accounts:
                raise ConfigError(f"{tables.where}: account {name} is also in {top.where}; keep one of them")
            accounts[name] = _account(tables, name, firms, limits)
        if not accounts:
            raise ConfigError(f"{path}: no account; add [accounts.NAME] with a password")
    known: dict[str, str] = {}
    for name in accounts:
        if (other := known.setdefault(name.upper(), name)) != name:
            raise ConfigError(f"{top.where}: accounts {other} and {name} differ in case only; logins are in any case")
    return accounts


def _account(tables: Table, name: str, firms: Firms, limits: Limits) -> Account:
    table = tables.table(name)
    if not re.fullmatch(rf"[A-Za-z0-9]{{1,{soupbintcp.USERNAME_BYTES}}}", name):
        raise ConfigError(f"{table.where}: SoupBinTCP user names are 1 to 6 letters or digits")
    password_hash = table.text("password")
    if not passwords.is_hash(password_hash):
        raise ConfigError(
            f"{table.where}: password must be what `trading-engine hash-password` prints, never the clear text"
        )
    obstacle = passwords.obstacle()
    if obstacle:
        raise ConfigError(f"{table.where}: {obstacle}")
    firm = table.text("firm", firms.default)
    if firm not in firms.mpids:
        raise table.wrong("firm", f"one of {', '.join(firms.mpids)}, each with its mpids in [firms.NAME]", firm)
    mpids = _mpids(table) if "mpids" in table.remaining() else firms.mpids[firm]
    for mpid in mpids:
        if mpid not in firms.mpids[firm]:
            raise ConfigError(f"{table.where}: {mpid} is none of firm {firm}'s MPIDs ({', '.join(firms.mpids[firm])})")
    own = table.table("risk")
    account = Account(
        name,
        password_hash,
        table.flag("test", False),
        table.choice("tokens", ("any", "increasing"), "any"),
        table.choice("self_match", ("allow", "cancel_resting", "cancel_incoming"), "allow"),
        table.choice("self_match_within", ("account", "firm"), "account"),
        firm,
        mpids,
        table.flag("cancel_on_disconnect", False),
        _limits(own, limits),
    )
    own.finish()
    table.finish()
    return account
