"""The command `trading-engine seal`, which writes a snapshot after a crash of the engine.

A clean stop would have written the same snapshot. Other versions of the engine can continue from a snapshot, but not
from a journal.
"""

from __future__ import annotations

import asyncio

from trading_engine.engine import Engine, StartError
from trading_engine.settings.config import EngineConfig


def seal(config: EngineConfig) -> int:
    """Write a snapshot: start the engine without clients, and stop it cleanly. Return how many records it replayed.

    Raises StartError when the engine cannot start.
    """
    loop = asyncio.new_event_loop()
    try:
        engine = Engine(config, loop)
        engine.lock()
        replayed = engine.start().replayed
        try:
            engine.stop()
        except OSError as error:
            raise StartError(f"stopping: {error}") from error
        return replayed
    finally:
        loop.close()
