"""The load generator itself. It runs in one thread, without an event loop.

It is an open loop: each order is sent at its intended time, even if earlier answers are late. Every order has three
times of the monotonic clock. "Intended" is its time in the schedule. "Sent" is when it was written to the socket.
"Answered" is when its Accepted or Rejected was read. The latency is measured from the intended time. So it includes the
wait of orders that could not be sent in time; to leave that out would be "coordinated omission". Sent minus intended is
the lateness of the generator itself. It only makes the latency look worse than it is.
"""

import ctypes
import gc
import resource
import select
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from trading_engine.wire import ouch, soupbintcp

from trading_bench import feed
from trading_bench.connection import BenchError
from trading_bench.flow import SHARES, Flow

DRAIN_TIMEOUT_NS = 5_000_000_000
START_DELAY_NS = 20_000_000
SPIN_NS = 60_000
RECEIVE_BYTES = 65536
PR_SET_TIMERSLACK = 29

_ACCEPTED, _EXECUTED, _CANCELED, _REJECTED, _SYSTEM_EVENT = b"AECJS"
_IGNORED_PACKETS = (soupbintcp.SERVER_HEARTBEAT, soupbintcp.DEBUG)
_STATE_LIVE = ouch.STATE_LIVE[0]


@dataclass
class Recording:
    """The recording of a run: the times of all its orders, by slot. A time is 0 if the event did not happen.

    `intended_ns`, `sent_ns` and `answered_ns` are monotonic. `engine_ns` is the engine's time in the reply Accepted, in
    nanoseconds since midnight. `replied_ns` and `shown_ns` are Unix times at which the kernel received the reply and
    the feed's message about the order. They are recorded only with a Subscriber. `offered_s` is the time from the start
    of the schedule to the last order sent. `wall_s` is the time from the start of the schedule to the last answer.
    """

    rate_per_s: float
    slots: int
    warmup_slots: int
    intended_ns: "array[int]" = field(init=False)
    sent_ns: "array[int]" = field(init=False)
    answered_ns: "array[int]" = field(init=False)
    engine_ns: "array[int]" = field(init=False)
    replied_ns: "array[int]" = field(init=False)
    shown_ns: "array[int]" = field(init=False)
    open_shares: "array[int]" = field(init=False)
    rejects: Counter[str] = field(default_factory=Counter)
    surprises: Counter[str] = field(default_factory=Counter)
    spins: bool = False
    cpu_s: float = 0.0
    offered_s: float = 0.0
    wall_s: float = 0.0

    def __post_init__(self) -> None:
        self.intended_ns = array("q", bytes(8 * self.slots))
        self.sent_ns = array("q", bytes(8 * self.slots))
        self.answered_ns = array("q", bytes(8 * self.slots))
        self.engine_ns = array("q", bytes(8 * self.slots))
        self.replied_ns = array("q", bytes(8 * self.slots))
        self.shown_ns = array("q", bytes(8 * self.slots))
        self.open_shares = array("l", bytes(array("l").itemsize * self.slots))


class Generator:
    """The load generator, on a socket that is logged in. Call `run` once, then `cancel_all`, then `log_out`."""

    def __init__(
        self,
        connection: socket.socket,
        splitter: soupbintcp.Splitter,
        flow: Flow,
        recording: Recording,
        subscriber: feed.Subscriber | None = None,
    ) -> None:
        self._socket = connection
        self._subscriber = subscriber
        self._sockets = [connection]
        if subscriber is not None:
            feed.stamped(connection)
            self._sockets.append(subscriber.socket)
        self._splitter = splitter
        self._received_ns = 0
        self._backlog = bytearray()
        self._flow = flow
        self._recording = recording
        self._answered = 0
        self._sent = 0

    def run(self, interrupted: Callable[[], bool]) -> None:
        """Send the order of every slot at its time, until `interrupted` returns True; then wait for the last answers.

        Raises BenchError when the engine or the feed closes the connection.
        """
        _wake_up_on_time()
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._schedule()
            usage = resource.getrusage(resource.RUSAGE_SELF)
            start_ns = time.monotonic_ns()
            self._send_on_schedule(interrupted)
            self._recording.offered_s = (time.monotonic_ns() - start_ns) / 1e9
            self._wait(lambda: self._answered >= self._sent)
            after = resource.getrusage(resource.RUSAGE_SELF)
            self._recording.wall_s = (time.monotonic_ns() - start_ns) / 1e9
            self._recording.cpu_s = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
            self._hear_the_feed_out()
        finally:
            if collecting:
                gc.enable()

    def cancel_all(self) -> int:
        """Cancel all open orders of this run. Return how many shares are still open afterwards, which is usually 0."""
        open_shares = self._recording.open_shares
        for slot, shares in enumerate(open_shares):
            if shares > 0:
                self._backlog += self._flow.cancel(slot)
        self._wait(lambda: not any(shares > 0 for shares in open_shares))
        return sum(shares for shares in open_shares if shares > 0)

    def log_out(self) -> None:
        self._backlog += soupbintcp.LOGOUT_REQUEST_PACKET
        self._flush()
        self._socket.close()

    def _hear_the_feed_out(self) -> None:
        """Wait until the feed has sent messages about all orders that rest in the book.

        Record when each message came.
        """
        subscriber, recording = self._subscriber, self._recording
        if subscriber is None:
            return
        self._wait(lambda: subscriber.missing() == 0)
        if missing := subscriber.missing():
            recording.surprises["orders that the feed did not show"] += missing
        for slot in range(recording.slots):
            recording.replied_ns[slot], recording.shown_ns[slot] = subscriber.times(slot)
        subscriber.close()
        self._subscriber = None
        self._sockets = [self._socket]

    def _schedule(self) -> None:
        first_ns = time.monotonic_ns() + START_DELAY_NS
        gap_ns = 1e9 / self._recording.rate_per_s
        intended_ns = self._recording.intended_ns
        for slot in range(self._recording.slots):
            intended_ns[slot] = first_ns + int(slot * gap_ns)

    def _send_on_schedule(self, interrupted: Callable[[], bool]) -> None:
        intended_ns, sent_ns = self._recording.intended_ns, self._recording.sent_ns
        frames, clock, wait = self._flow.frames, time.monotonic_ns, select.select
        spin_ns = SPIN_NS if self._recording.spins else 0
        readable, writable = self._sockets, [self._socket]
        nothing: list[socket.socket] = []
        for slot in range(self._recording.slots):
            due_ns = intended_ns[slot]
            while (now_ns := clock()) < due_ns:
                sleep_s = max(due_ns - now_ns - spin_ns, 0) / 1e9
                ready = wait(readable, writable if self._backlog else nothing, nothing, sleep_s)
                if ready[1]:
                    self._flush()
                if ready[0]:
                    self._read(ready[0])
                if interrupted():
                    return
            sent_ns[slot] = now_ns
            self._sent = slot + 1
            self._backlog += frames(slot)
            self._flush()

    def _wait(self, finished: Callable[[], bool]) -> None:
        deadline_ns = time.monotonic_ns() + DRAIN_TIMEOUT_NS
        sockets = [self._socket]
        self._flush()
        while not finished() and (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            ready = select.select(self._sockets, sockets if self._backlog else [], [], left_ns / 1e9)
            if ready[1]:
                self._flush()
            if ready[0]:
                self._read(ready[0])

    def _flush(self) -> None:
        if not self._backlog:
            return
        try:
            del self._backlog[: self._socket.send(self._backlog)]
        except BlockingIOError:
            return
        except OSError as error:
            raise BenchError(f"the engine broke the connection after {self._sent} orders: {error.strerror}") from error

    def _read(self, ready: list[socket.socket]) -> None:
        if self._socket in ready:
            self._receive()
        if self._subscriber is not None and self._subscriber.socket in ready:
            self._subscriber.read()

    def _receive(self) -> None:
        received_ns = 0
        try:
            if self._subscriber is None:
                data = self._socket.recv(RECEIVE_BYTES)
            else:
                data, received_ns = feed.receive(self._socket)
        except BlockingIOError:
            return
        except OSError as error:
            raise BenchError(f"the engine broke the connection after {self._sent} orders: {error.strerror}") from error
        if not data:
            raise BenchError(f"the engine closed the connection after {self._sent} orders; its log says why")
        now_ns = time.monotonic_ns()
        packets = self._splitter.feed(data)
        # The kernel's time is that of the newest bytes, and earlier packets of the same read may have come before. For
        # these an earlier time is recorded: that of the previous read, but not before the order was sent. So the delay
        # of the feed may be recorded as too long, but never as too short.
        before_ns, self._received_ns = self._received_ns, received_ns
        wall_ns = time.time_ns() - now_ns
        for number, (kind, message) in enumerate(packets, 1):
            if kind == soupbintcp.SEQUENCED:
                newest = number == len(packets)
                self._reply(message, now_ns, received_ns if newest else before_ns, 0 if newest else wall_ns)
            elif kind == soupbintcp.END_OF_SESSION:
                raise BenchError(f"the engine ended the session after {self._sent} orders")
            elif kind not in _IGNORED_PACKETS:
                self._recording.surprises[f"packet type {chr(kind)!r}"] += 1

    def _reply(self, message: bytes, now_ns: int, received_ns: int, wall_ns: int) -> None:
        """Record a reply, which was read at `now_ns` and received by the kernel at `received_ns` (Unix time).

        `wall_ns` is the wall clock minus the monotonic clock, or 0 if that is not needed. If it is not 0, a time of
        receipt that is before the time of sending is replaced by the time of sending.
        """
        recording = self._recording
        kind = message[0]
        if kind == _SYSTEM_EVENT:
            return
        if not message.startswith(self._flow.prefix, 9):
            recording.surprises["reply to an order of another run"] += 1
            return
        slot = int(message[16:23])
        if kind == _ACCEPTED:
            recording.answered_ns[slot] = now_ns
            recording.engine_ns[slot] = int.from_bytes(message[1:9], "big")
            self._answered += 1
            if self._subscriber is not None:
                sent_ns = recording.sent_ns[slot] + wall_ns if wall_ns else 0
                self._subscriber.answered(slot, message, max(received_ns, sent_ns))
            if message[64] == _STATE_LIVE:
                recording.open_shares[slot] += SHARES
        elif kind in (_EXECUTED, _CANCELED):
            recording.open_shares[slot] -= int.from_bytes(message[23:27], "big")
        elif kind == _REJECTED:
            recording.answered_ns[slot] = now_ns
            self._answered += 1
            recording.rejects[chr(message[23])] += 1
        else:
            recording.surprises[f"message type {chr(kind)!r}"] += 1


def _wake_up_on_time() -> None:
    """Set the timer slack of this thread to 1 ns, because Linux otherwise may extend every wait by 50 µs.

    Other systems have no such setting. There the generator is late by that time, and reports it as its lateness.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
