"""The feed reads messages from the engine's ring buffer and from its files.

Messages that are only in the files arrive even while many messages come through the ring buffer.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from trading_engine.published.ring import LARGEST, RingWriter
from trading_feed.live import Live
from trading_feed.log import Log

from tests.unit.feed.test_log import SESSION, binary_file, write

TURNS = 200


async def test_what_was_too_large_for_the_ring_is_taken_from_the_files_though_turns_follow_without_a_pause(
    tmp_path: Path,
) -> None:
    messages = [b"large" * 10] * (LARGEST // 50)
    path = write(tmp_path, 1, [])
    log = Log(tmp_path)
    ring = RingWriter(tmp_path / "ring", tmp_path / "bell")
    ring.begin(SESSION, 1)
    turns = 0
    ended = asyncio.Event()

    def serve() -> None:
        """Write the messages of one more turn to the ring buffer. The feed calls this function for new messages.

        The ring buffer therefore always has another turn, until the feed has read all messages or 200 turns have
        passed.
        """
        nonlocal turns
        if turns == 3:  # the engine writes the file some turns later
            path.write_bytes(binary_file(messages))
        session = log.current
        if (session and session.next_sequence > len(messages)) or turns == TURNS:
            ended.set()
            return
        turns += 1
        ring.write(binary_file([b"turn"]), 1)

    live = Live(asyncio.get_running_loop(), tmp_path / "ring", tmp_path / "bell", log, serve, lambda text: None)
    async with asyncio.timeout(20):
        live.check(wanted=True)
        while not live.asleep:
            await asyncio.sleep(0)
        ring.write(binary_file(messages), len(messages))
        serve()
        await ended.wait()
    assert turns < TURNS
    live.stop()
    ring.close()
    log.close()
