"""The times of replies that the load generator gets from the socket in one read.

It gives these times to the subscriber of the feed. No time may be too late, because market data would then seem to
arrive earlier than it does.
"""

from __future__ import annotations

import socket
import time

from trading_bench.flow import Flow
from trading_bench.generator import Generator, Recording
from trading_engine.wire import soupbintcp

SLOTS = 3
LATE_NS = 2_000_000


class Listener:
    """A fake subscriber of the feed. It records the calls of its method `answered`."""

    def __init__(self, feed: socket.socket) -> None:
        self.socket = feed
        self.received_ns: dict[int, int] = {}

    def answered(self, slot: int, accepted: bytes, received_ns: int) -> None:
        self.received_ns[slot] = received_ns


def accepted(flow: Flow, slot: int) -> bytes:
    token = flow.prefix + b"%07d" % slot
    return soupbintcp.sequenced((b"A" + bytes(8) + token).ljust(64, b" ") + b"L ")


def test_the_feed_is_never_taken_for_earlier_than_it_was_by_replies_that_came_together() -> None:
    near, far = socket.socketpair()
    feed, _ = socket.socketpair()
    flow, recording, listener = Flow("TEST", 1_000_000), Recording(1000.0, SLOTS, 0), Listener(feed)
    generator = Generator(near, soupbintcp.Splitter(), flow, recording, listener)  # type: ignore[arg-type]
    far.send(accepted(flow, 0))
    generator._receive()
    sent_ns = recording.sent_ns[1] = recording.sent_ns[2] = time.monotonic_ns()
    while time.monotonic_ns() - sent_ns < LATE_NS:
        pass
    far.send(accepted(flow, 1) + accepted(flow, 2))
    generator._receive()
    first, second, third = (listener.received_ns[slot] for slot in range(SLOTS))
    assert first <= second, "a reply came before what was read earlier"
    assert third - second >= LATE_NS // 2, "it counts from when its order was sent, the earliest that there is"
    assert recording.answered_ns[1] == recording.answered_ns[2]
    for each in (near, far, feed, _):
        each.close()
