"""The accounts that may subscribe to market data.

They are the engine's accounts, from the same files. The files may change while the feed runs.
"""

import logging
import os
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from trading_engine.settings import config as engine_config
from trading_engine.settings.config import EngineConfig
from trading_engine.settings.tables import ConfigError, load

logger = logging.getLogger("trading-feed")

Looks = tuple[tuple[int, int, int] | None, ...]


class Accounts:
    """The accounts in the newest valid files. `account_of` returns the account with a name, or None.

    `config` is the configuration at the start. Later changes of the files affect only the accounts.
    """

    def __init__(self, path: Path) -> None:
        """Read engine.toml at `path`, and the accounts file that engine.toml names.

        Raises ConfigError when one of the files is wrong.
        """
        self._path = path
        self._files: tuple[Path, ...] = (path,)
        self._seen: Looks = ()
        self._reading: Future[EngineConfig | None] | None = None
        self.config = self._read()
        self.account_of = self.config.account_of

    def follow(self, loop: AbstractEventLoop, thread: Executor, taken: Callable[[], None]) -> None:
        """Read the files again, in a thread, if they have changed since they were last read.

        When the new accounts are in use, `taken` is called in the event loop. Wrong files are logged and not used.
        """
        if self._reading is None and self._look() != self._seen:
            self._reading = loop.run_in_executor(thread, self._read_again)
            self._reading.add_done_callback(lambda done: self._take(done, taken))

    def _take(self, done: "Future[EngineConfig | None]", taken: Callable[[], None]) -> None:
        self._reading = None
        config = None if done.cancelled() else done.result()
        if config is not None:
            self.account_of = config.account_of
            taken()

    def _read_again(self) -> EngineConfig | None:
        try:
            return self._read()
        except ConfigError as error:
            logger.error("the accounts stay as they were: %s", error)
            return None

    def _read(self) -> EngineConfig:
        # Remembered before engine.toml is parsed: if it is broken, it is read again only after it has changed.
        self._seen = (*self._look()[:1], None)
        self._files = (self._path, _accounts_file(self._path))
        self._seen = self._look()  # taken before the reading, so that a change during the reading is noticed later
        return engine_config.read(self._path)

    def _look(self) -> Looks:
        return tuple(_look_at(file) for file in self._files)


def _accounts_file(path: Path) -> Path:
    table = load(path).get("accounts")
    file = table.get("file") if isinstance(table, dict) else None
    return path.resolve().parent / (file if isinstance(file, str) and file else "/etc/trading/accounts.toml")


def _look_at(file: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
