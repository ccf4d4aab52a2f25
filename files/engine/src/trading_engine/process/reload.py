"""The reload: the running engine changes its limits, passwords, accounts, firms and symbols to a new configuration.

The command `trading-engine admin reload` reads and checks the files, and sends their content in parts. The engine
processes the parts in small steps. Each step has a turn of the event loop of its own, so that clients are served in
between. The engine refuses a configuration with a contradiction, or with a change that needs a restart. It does so
before it changes anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, TypeVar

from trading_engine.engine import Engine, is_to_be_killed
from trading_engine.machine import inputs
from trading_engine.settings.config import CANARY_ACCOUNT, Account, EngineConfig, Firms, Limits, Symbol, are_mpids

T = TypeVar("T")
_ITEMS_A_SLICE: Final = 16
_REMOVED_A_SLICE: Final = 4
_LOOKED_AT_A_SLICE: Final = 128
_MPIDS_A_SLICE: Final = 512
_PART_BYTES: Final = 32_768  # as JSON, unless a single item is longer
_LAST_LOCATE: Final = 65_535  # of ITCH
_SYMBOL_BYTES: Final = 8
_ACCOUNT_TYPES: Final[dict[str, type]] = {
    "password_hash": str, "test": bool, "tokens": str, "self_match": str, "self_match_within": str, "firm": str,
    "mpids": list, "cancel_on_disconnect": bool, "limits": dict,
}  # fmt: skip
_SYMBOL_TYPES: Final[dict[str, type]] = {
    "name": str, "reference_price_e4": int, "restricted": bool, "tick_e4": int, "lot_shares": int,
}  # fmt: skip


class ReloadError(Exception):
    """The running engine cannot change to this configuration. The message says why.

    Nothing was changed, unless the engine has failed.
    """


def parts_of(config: EngineConfig) -> Iterator[dict[str, Any]]:
    """Yield the parts of a reload that changes the engine to this configuration, each as a value for a JSON line.

    The first part has the settings that a reload cannot change. Firms, accounts, symbols and an end mark follow.
    """
    yield {"command": "reload", "fixed": config.fixed(), "default_firm": config.firms.default}
    yield from _parts("firms", _firms(config.firms))
    yield from _parts("accounts", (asdict(account) for account in config.accounts.values()))
    yield from _parts("symbols", (asdict(symbol) for symbol in config.symbols))
    yield {"end": True}


def _parts(key: str, items: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    some: list[dict[str, Any]] = []
    size = 0
    for item in items:
        length = len(json.dumps(item))
        if len(some) == _ITEMS_A_SLICE or (some and size + length > _PART_BYTES):
            yield {key: some}
            some, size = [], 0
        some.append(item)
        size += length
    if some:
        yield {key: some}


def _firms(firms: Firms) -> Iterator[dict[str, Any]]:
    """Yield each firm with its MPIDs, its ids in market data.

    A firm with many MPIDs is yielded several times, each time with some of them.
    """
    for name, mpids in firms.mpids.items():
        for some in _slices(mpids, _MPIDS_A_SLICE):
            yield {"name": name, "mpids": some}


class Reload:
    """One reload of the configuration by the running engine.

    Call `take` with each part. Then run the iterator `steps`, one step in each turn of the event loop. After the last
    step, `answer` says what was changed.
    """

    def __init__(self, engine: Engine, end_session: Callable[[int], None], request: dict[str, Any]) -> None:
        """Begin the reload with its first part, `request`. Raises ReloadError if a change in it needs a restart."""
        self._engine = engine
        self._end_session = end_session
        fixed, default = request.get("fixed"), request.get("default_firm")
        if not isinstance(fixed, dict) or not isinstance(default, str):
            raise ReloadError("the first part of a reload names the unchangeable settings and the default firm")
        now = engine.config.fixed()
        other = [name for name in now if fixed.get(name) != now[name]]
        if other:
            raise ReloadError(f"{', '.join(other)}: changed, which needs a restart")
        self._firms = Firms({}, default)
        self._accounts: dict[str, Account] = {}
        self._by_login: dict[str, Account] = {}
        self._symbols: dict[str, Symbol] = {}
        self.answer: dict[str, Any] = {}

    def take(self, part: dict[str, Any]) -> None:
        """Add the firms, accounts and symbols of the next part.

        Raises ReloadError if they are malformed or repeated.
        """
        for values in _list_of(part, "firms"):
            firm, mpids = values.get("name"), values.get("mpids")
            if not isinstance(firm, str) or not are_mpids(mpids):
                raise ReloadError(f"firm {firm!r} is malformed")
            self._firms.mpids[firm] = (*self._firms.mpids.get(firm, ()), *mpids)
        for values in _list_of(part, "accounts"):
            name = values.pop("name", None)
            if not isinstance(name, str) or not name.isalnum() or name in self._accounts:
                raise ReloadError(f"account {name!r} is malformed or there twice")
            self._list(_account_of(name, values))
        for values in _list_of(part, "symbols"):
            symbol = _symbol_of(values)
            if symbol.name in self._symbols:
                raise ReloadError(f"symbol {symbol.name} is there twice")
            self._symbols[symbol.name] = symbol

    def _list(self, account: Account) -> None:
        self._accounts[account.name] = self._by_login[account.name.upper()] = account

    def steps(self) -> Iterator[None]:
        """Compare the new configuration with the present one, then change the engine. Each step takes little time.

        Raises ReloadError when the new configuration is refused. Then nothing has been changed, unless the engine has
        failed.
        """
        engine = self._engine
        config = engine.config
        if not self._accounts or not self._symbols:
            raise ReloadError("there must be an account and a symbol")
        default = self._firms.default
        if default not in self._firms.mpids:
            raise ReloadError(f"the default firm {default!r} is none of its firms")
        if config.canary_symbol:
            canary = config.accounts[CANARY_ACCOUNT]
            self._list(replace(canary, firm=default, mpids=self._firms.mpids[default]))
        symbols_before: dict[str, Symbol] = {}
        for listed in _slices(config.symbols, _LOOKED_AT_A_SLICE):
            symbols_before.update((symbol.name, symbol) for symbol in listed)
            yield
        accounts: list[str] = []
        for some in _slices(tuple(self._accounts)):
            accounts += [name for name in some if config.accounts.get(name) != self._accounts[name]]
            self._refuse_other_tokens(some)
            yield
        removed: list[str] = []
        for some in _slices(tuple(engine.core.accounts), _LOOKED_AT_A_SLICE):
            for name in some:
                if name not in self._accounts and self._has_to_go(name):
                    removed.append(name)
            yield
        symbols: list[str] = []
        new = 0
        for some in _slices(tuple(self._symbols)):
            symbols += [name for name in some if symbols_before.get(name) != self._symbols[name]]
            new += sum(name not in symbols_before for name in some)
            yield
        dropped: list[str] = []
        for some in _slices(tuple(symbols_before), _LOOKED_AT_A_SLICE):
            missing = [name for name in some if name not in self._symbols]
            self._refuse(self._open_one(missing))
            dropped += missing
            yield
        if len(engine.core.books) + new > _LAST_LOCATE:
            raise ReloadError(f"{new} more symbols exceed the {_LAST_LOCATE} that ITCH's stock locate can name")
        yield
        yield from self._drop(dropped, symbols_before)
        for some in _slices(accounts):
            self._change({name: self._accounts[name].core_settings() for name in some}, [], [])
            yield
        for some in _slices(symbols):
            self._change({}, [asdict(self._symbols[name]) for name in some], [])
            yield
        # Removed accounts stay in the configuration until their slice comes, because they may still be logged in. They
        # cannot log in again.
        for some in _slices(removed):
            self._accounts.update((name, config.accounts[name]) for name in some if name in config.accounts)
            yield
        listing = tuple(self._symbols.values())
        engine.config = config.taking_over(self._accounts, self._by_login, listing, self._firms)
        yield
        for some in _slices(removed, _REMOVED_A_SLICE):
            for name in some:
                self._remove(name)
                self._accounts.pop(name, None)
            yield
        self._check_failure()
        self.answer = {
            "done": "reload",
            "name": "",
            "changed": bool(accounts or removed or symbols or dropped),
            "accounts": accounts,
            "removed": removed,
            "symbols": symbols,
            "dropped": dropped,
        }

    def _has_to_go(self, name: str) -> bool:
        """Return whether an account that is not in the new configuration has to be removed now.

        The core keeps all accounts that it ever had. Most accounts that are not in the configuration were removed by an
        earlier reload or start.
        """
        return name in self._engine.config.accounts or is_to_be_killed(self._engine.core.accounts[name])

    def _refuse_other_tokens(self, names: list[str]) -> None:
        for name in names:
            known, tokens = self._engine.core.accounts.get(name), self._accounts[name].tokens
            if known is not None and known.settings["tokens"] != tokens and (known.tokens or known.last_token):
                raise ReloadError(
                    f"account {name} has used tokens in this session: change its tokens to {tokens!r} before the "
                    "session's first order, or restart the engine"
                )

    def _drop(self, dropped: list[str], before: dict[str, Symbol]) -> Iterator[None]:
        """Restrict the symbols that are not in the new configuration. This is the reload's first change.

        If one of these symbols has got an open order in the meantime, undo the restriction of all of them and raise
        ReloadError.
        """
        done: list[str] = []
        for some in _slices(dropped):
            refused = self._open_one(some)
            if refused:
                for undone in _slices(done):
                    self._change({}, [asdict(before[name]) for name in undone], [])
                    yield
                self._refuse(refused)
            self._change({}, [], some)
            done += some
            yield

    def _open_one(self, names: list[str]) -> str:
        """Return the first of the symbols that has an open order, or "" if no symbol has one."""
        for name in names:
            book = self._engine.core.books[name.encode("ascii").ljust(_SYMBOL_BYTES)]
            if book.bids.keys or book.asks.keys:
                return name
        return ""

    def _refuse(self, symbol: str) -> None:
        if symbol:
            raise ReloadError(f"symbol {symbol} has open orders: restrict it, and drop it when there are none")

    def _change(self, accounts: dict[str, Any], symbols: list[Any], dropped: list[str]) -> None:
        changes = {"accounts": accounts, "symbols": symbols, "dropped": dropped}
        self._engine.submit(inputs.CHANGE, payload=json.dumps(changes, sort_keys=True).encode())
        self._check_failure()

    def _check_failure(self) -> None:
        failure = self._engine.failure
        if failure:
            raise ReloadError(f"the engine failed in the middle of a reload ({failure}); restart it to apply all")

    def _remove(self, name: str) -> None:
        """Switch the account's kill switch on, disconnect its client, and begin to cancel its orders."""
        engine = self._engine
        number = engine.core.accounts[name].number
        engine.kill(name)
        self._check_failure()
        self._end_session(number)
        engine.cancellations.of_account(number)


def _slices(items: Sequence[T], size: int = _ITEMS_A_SLICE) -> Iterator[list[T]]:
    for at in range(0, len(items), size):
        yield list(items[at : at + size])


def _list_of(part: dict[str, Any], key: str) -> list[dict[str, Any]]:
    values = part.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ReloadError(f"{key} is a list of objects")
    return values


def _account_of(name: str, values: dict[str, Any]) -> Account:
    """Return the account with these values from a part of a reload. Raises ReloadError if they are malformed.

    Everything that the core assumes is checked here. An exception in the core would leave a change half done.
    """
    try:
        _check_types(values, _ACCOUNT_TYPES)
        limits = Limits(**values.pop("limits"))
        mpids = values.pop("mpids")
        fits = are_mpids(mpids) and all(type(limit) is int and limit >= 0 for limit in asdict(limits).values())
        fits = fits and values["tokens"] in ("any", "increasing")
        fits = fits and values["self_match"] in ("allow", "cancel_resting", "cancel_incoming")
        fits = fits and values["self_match_within"] in ("account", "firm")
        if fits:
            return Account(name=name, mpids=tuple(mpids), limits=limits, **values)
    except (KeyError, TypeError) as error:
        raise ReloadError(f"account {name} is malformed: {error}") from error
    raise ReloadError(f"account {name} is malformed")


def _symbol_of(values: dict[str, Any]) -> Symbol:
    _check_types(values, _SYMBOL_TYPES)
    name = values["name"]
    fits = name.isascii() and 1 <= len(name) <= _SYMBOL_BYTES
    if not (fits and values["reference_price_e4"] > 0 and values["tick_e4"] >= 0 and values["lot_shares"] > 0):
        raise ReloadError(f"symbol {name!r} is malformed")
    return Symbol(**values)


def _check_types(values: dict[str, Any], types: dict[str, type]) -> None:
    if values.keys() != types.keys() or any(type(values[key]) is not kind for key, kind in types.items()):
        raise ReloadError("an account or a symbol is malformed")
