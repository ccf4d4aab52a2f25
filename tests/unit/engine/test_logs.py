"""The engine writes logs of replies and of market data.

Everything in these logs follows from the journal. If a part of a log is lost, a replay of the journal writes it again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.storage import snapshot
from trading_engine.wire import itch, ouch, soupbintcp

ANNA = 0
DEADLINE_S = 30
_ADDED_BYTES = 38  # an Add Order message with its length


def trade(engine: Engine, loop: asyncio.AbstractEventLoop, *tokens: str) -> None:
    """Enter resting orders with these tokens. Then let the event loop write what is not yet written."""
    engine.submit(inputs.CONNECT, ANNA)
    for token in tokens:
        enter(engine, token)
    loop.call_soon(loop.stop)
    loop.run_forever()
    engine.tick()


def enter(engine: Engine, token: str) -> None:
    order = ouch.EnterOrder(token, "B", 100, "TEST", 1_000_000)
    engine.read(ANNA, soupbintcp.unsequenced(ouch.INBOUND.encode(order)), 0)


def market_data(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((directory / "itch").iterdir()))


def test_market_data_that_was_lost_is_there_again_before_anybody_trades(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    trade(start(), loop, "1", "2")
    (log,) = (tmp_path / "itch").iterdir()
    said = log.read_bytes()
    log.write_bytes(said[:-40])  # in the middle of the last message
    start()
    assert market_data(tmp_path) == said


def test_market_data_is_written_once_a_millisecond_and_the_last_of_it_without_another_input(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    engine, orders = start(), 500
    written: dict[int, None] = {}
    for number in range(orders):
        trade(engine, loop, str(number))  # one turn of the loop, which writes at most once
        written[engine._feed_flushed_ns] = None
    assert all(later - earlier >= 1_000_000 for earlier, later in itertools.pairwise(written))

    async def all_written() -> None:
        while market_data(tmp_path).count(b"TEST    ") < orders + 2:  # 2: the symbol's directory entry and its state
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(all_written(), DEADLINE_S))


def test_a_stop_writes_what_was_said_before_the_snapshot_after_which_nothing_is_replayed(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    engine = start()
    trade(engine, loop, "1")
    said = market_data(tmp_path)
    enter(engine, "2")
    assert engine.writer is not None
    in_the_way = snapshot.path_of(tmp_path / "journal", engine.writer.segment + 1).with_suffix(".part")
    in_the_way.mkdir()
    with pytest.raises(IsADirectoryError):
        engine.stop()
    assert len(market_data(tmp_path)) == len(said) + _ADDED_BYTES


@pytest.mark.parametrize("durability", ["none"])
def test_without_a_journal_a_start_begins_new_logs(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    trade(start(), loop, "1", "2", "3")
    engine = start()
    trade(engine, loop, "4")
    (own,) = (tmp_path / "itch").glob(f"{engine.core.day}-*")
    messages = map(itch.FEED.decode, itch.split_log(own.read_bytes()))
    assert sum(isinstance(message, itch.AddOrder) for message in messages) == 1
    replies, count = engine.outbox.log(ANNA).read_from(1, 1 << 16)
    said = [ouch.OUTBOUND.decode(payload) for _, payload in soupbintcp.Splitter().feed(replies)]
    assert [getattr(message, "token", "") for message in said] == ["", "4"]
    assert count == len(said)
