"""When a client disconnects from a stream, the service keeps nothing of the stream.

This is also true if a document for the stream arrives at the same moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from trading_telemetry.stream import Broadcast, EventStream

LIMIT_S = 10.0


def test_a_client_that_leaves_as_a_document_comes_leaves_nothing_behind() -> None:
    async def leave() -> None:
        broadcast = Broadcast()
        left, began = asyncio.Event(), asyncio.Event()

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            began.set()

        stream = asyncio.ensure_future(EventStream(broadcast)({"type": "http", "method": "GET"}, receive, send))
        await began.wait()
        for _ in range(10):  # now the stream waits for a document
            await asyncio.sleep(0)
        left.set()
        for _ in range(10):  # a document arrives at each step of the stream's end
            broadcast.publish(b"{}")
            await asyncio.sleep(0)
        _, still_there = await asyncio.wait({stream}, timeout=LIMIT_S)
        assert not still_there
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(leave())
