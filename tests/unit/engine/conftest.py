"""Fixtures that run an engine in the test's own process, with an event loop but without client connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trading_engine.engine import Engine
from trading_engine.settings import config

from tests.unit.engine.process import cheap_hash

_HASH = cheap_hash("x")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def durability() -> str:
    return "os"


@pytest.fixture
def start(tmp_path: Path, loop: asyncio.AbstractEventLoop, durability: str) -> Iterator[Callable[[], Engine]]:
    """Yield a function that starts an engine.

    When an engine from an earlier call still runs, the function first ends that engine as a crash would.
    """
    text = f'[journal]\ndirectory = "journal"\ndurability = "{durability}"\nreserve_bytes = 0\n'
    text += f"segment_bytes = {1 << 20}\nbudget_bytes = {64 << 20}\n"  # each start writes whole segments
    text += '[itch]\ndirectory = "itch"\n'
    for name in ("ANNA", "BERT"):
        text += f'[accounts.{name}]\npassword = "{_HASH}"\ncancel_on_disconnect = true\n'
    (tmp_path / "engine.toml").write_text(text + '[[symbol]]\nname = "TEST"\nreference_price = "100"\n')
    settings = config.read(tmp_path / "engine.toml")
    engines: list[Engine] = []

    def start() -> Engine:
        for old in engines:
            old.fail("gone")
            old.stop()
        engine = Engine(settings, loop)
        engine.lock()
        engine.start()
        engines[:] = [engine]
        return engine

    yield start
    engines[0].fail("gone")
    engines[0].stop()
