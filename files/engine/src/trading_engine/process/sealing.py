"""A clean stop for an engine that crashed: its journal becomes a snapshot from which other versions can continue."""

from __future__ import annotations

import asyncio

from trading_engine.engine import Engine, StartError
from trading_engine.settings.config import EngineConfig


def seal(config: EngineConfig) -> int:
    """Recover as a start does, accept no clients, and stop cleanly; return how much was replayed. Raises StartError."""
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
