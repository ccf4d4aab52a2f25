"""A reader of TOML files whose error messages name the file, the key, what was expected, and similar known keys.

All programs of this project read their configurations with it.
"""

from __future__ import annotations

import difflib
import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from trading_engine.host.sockets import is_address


class ConfigError(Exception):
    """The configuration cannot be used. The message says what is wrong, where, and what to do."""


def load(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file. Raises ConfigError when it cannot be read or is not valid TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; `trading-engine example-config` prints one") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


class Table:
    """One table of a TOML file. Its methods return the values of keys, and raise ConfigError for wrong values.

    First get all known keys, then call `finish`, which raises ConfigError for a key that is left.
    """

    def __init__(self, where: str, values: object) -> None:
        """`where` is the name of the file and table in error messages. Raises ConfigError if `values` is no dict."""
        if not isinstance(values, dict):
            raise ConfigError(f"{where} must be a table")
        self.where = where
        self._values: dict[str, Any] = dict(values)
        self._known: list[str] = []

    def take(self, key: str, default: object = None) -> Any:
        """Return the value of a key, without checking it, and remove the key from the table.

        If the key is missing, return the default. Raises ConfigError if there is no default either.
        """
        self._known.append(key)
        if key in self._values:
            return self._values.pop(key)
        if default is None:
            raise ConfigError(f"{self.where}: {key} is missing")
        return default

    def table(self, key: str, required: bool = False) -> Table:
        return Table(f"{self.where} [{key}]", self.take(key, None if required else {}))

    def text(self, key: str, default: str | None = None) -> str:
        value = self.take(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "text", value)
        return value

    def address(self, key: str, default: str) -> str:
        value = self.text(key, default)
        if not is_address(value):
            raise self.wrong(key, "a numeric address like 10.0.1.5 or fd00::5 (0.0.0.0 and :: for all)", value)
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise self.wrong(key, f"one of {', '.join(choices)}", value)
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return value

    def integer(self, key: str, default: int | None, lowest: int, highest: int) -> int:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise self.wrong(key, f"a whole number from {lowest} to {highest}", value)
        return value

    def price_e4(self, key: str, highest_e4: int, default: int | None = None) -> int:
        """Return a price in 1/10,000 of the currency unit. In the file it is a text such as "100.25", or a number."""
        if default is not None and key not in self._values:
            self._known.append(key)
            return default
        value = self.take(key)
        try:
            price_e4 = Decimal(str(value)) * 10_000
        except InvalidOperation:
            price_e4 = Decimal(-1)
        if isinstance(value, bool) or price_e4 != int(price_e4) or not 0 < price_e4 <= highest_e4:
            raise self.wrong(key, f'a price like "100.25", up to {Decimal(highest_e4) / 10_000}', value)
        return int(price_e4)

    def path(self, key: str, default: str | None = None) -> Path:
        return Path(self.text(key, default))

    def wrong(self, key: str, expected: str, value: object) -> ConfigError:
        """Return the ConfigError for a wrong value. The caller raises it."""
        return ConfigError(f"{self.where}: {key} must be {expected}, not {value!r}")

    def remaining(self) -> list[str]:
        """Return the keys that no method has taken yet."""
        return list(self._values)

    def finish(self) -> None:
        """Raise ConfigError if a key is left that no method has taken. Such a key is unknown."""
        for key in self._values:
            near = difflib.get_close_matches(key, self._known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(self._known)}"
            raise ConfigError(f"{self.where}: unknown key {key!r}; {hint}")
