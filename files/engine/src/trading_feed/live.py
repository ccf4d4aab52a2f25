"""The feed's reading of the newest messages from the ring buffer in shared memory (`trading_engine.published.ring`).

The engine can wake the feed by one byte in a named pipe, the "bell". But a byte after each turn of its event loop would
cost the engine more time than it needs to write the turn's market data. So the feed looks at the ring by a timer of its
own, once in NAP_NS nanoseconds. After NAPS looks without a message it stops the timer and requests the byte.
"""

from __future__ import annotations

import os
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trading_engine.host.timerfd import IntervalTimer
from trading_engine.published.ring import RingError, RingReader

from trading_feed.log import Log

NAP_NS: Final = 100_000
"""The time between two looks at the ring."""
NAP_BESIDE_THE_ENGINE_NS: Final = 1_000_000
"""The time between two looks if feed and engine share a single CPU, so that each look delays the engine."""
NAPS: Final = 10
"""The number of looks without a message after which the feed requests the bell."""
_monotonic_ns: Final = time.monotonic_ns


class Live:
    """The reader of the ring. It adds the messages that it finds to `log.tail` and then calls `serve`.

    Only `check` starts the reading, stops it, and changes to the ring of a restarted engine. So call `check` several
    times a second. `asleep` is True while the timer is stopped and the feed waits for the engine's byte in the named
    pipe.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        ring: Path,
        bell: Path,
        log: Log,
        serve: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._ring = ring
        self._bell = bell
        self._log = log
        self._serve = serve
        self._say = say
        self._said = ""
        self._reader: RingReader | None = None
        self._timer: IntervalTimer | None = None
        self._empty = 0
        self.asleep = False

    @property
    def follows(self) -> bool:
        """Whether the feed reads the ring buffer. Otherwise it gets messages only from the log files."""
        return self._reader is not None

    def check(self, wanted: bool) -> None:
        """Start to read the ring if `wanted`, otherwise stop. Change to the new ring of a restarted engine.

        The method also reads messages for which the engine did not wake the feed. The delays that the feed has measured
        go into shared memory, where the engine reads them.
        """
        reader = self._reader
        if reader is not None and (not wanted or reader.is_left):
            self.look()
            self.stop()
        if self._reader is None:
            if wanted:
                self._start()
            return
        if self.asleep and self.look():  # there is a message, but no bell came
            self._wake()
        self._reader.publish_times()

    def look(self) -> bool:
        """Read the new messages from the ring buffer and send them to the subscribers.

        Return whether there were any.
        """
        reader = self._reader
        if reader is None:
            return False
        pieces = reader.read()
        if not pieces:
            return False
        add, session = self._log.tail.add, reader.session
        for first, _, data in pieces:
            add(session, first, data)
        self._serve()
        served_ns = _monotonic_ns()
        for _, written_ns, _ in pieces:
            reader.times.record(served_ns - written_ns)
        return True

    def stop(self) -> None:
        reader, timer = self._reader, self._timer
        if reader is not None and timer is not None:
            self._loop.remove_reader(reader.bell)
            self._loop.remove_reader(timer.descriptor)
            timer.close()
            reader.publish_times()
            reader.close()
        self._reader = self._timer = None
        self.asleep = False

    def _start(self) -> None:
        try:
            reader = RingReader(self._ring, self._bell)
        except RingError as error:
            self._tell(f"market data comes from the log files, some milliseconds late: {error}")
            return
        if reader.is_left:
            reader.close()
            return
        self._tell("market data comes from the engine's ring")
        self._reader = reader
        timer = self._timer = IntervalTimer(NAP_NS if _has_other_cpu(reader.engine_pid) else NAP_BESIDE_THE_ENGINE_NS)
        self._loop.add_reader(timer.descriptor, self._nap_over)
        self._loop.add_reader(reader.bell, self._wake)
        self._empty = 0
        self.asleep = False

    def _wake(self) -> None:
        """Start the timer again after the engine's byte in the named pipe, and read the messages from the ring.

        If the ring has no messages, they were too large for the ring. They are then read from the files.
        """
        reader, timer = self._reader, self._timer
        if reader is None or timer is None:
            return
        reader.get_up()
        if self.asleep:
            self.asleep = False
            timer.start()
        self._empty = 0
        if not self.look() or self._log.lacks_messages:
            self._look_at_files()

    def _nap_over(self) -> None:
        reader, timer = self._reader, self._timer
        if reader is None or timer is None:
            return
        try:
            os.read(timer.descriptor, 8)
        except BlockingIOError:
            return
        # The log file gets messages later than the ring. It is read here, because the ring may never be empty.
        if self._log.lacks_messages:
            self._look_at_files()
        if self.look():
            self._empty = 0
            return
        self._empty += 1
        if self._empty < NAPS:
            return
        self._empty = 0
        if reader.overtaken() and not self.look():
            reader.join()
            self._look_at_files()
            return
        reader.lie_down()
        if self.look():
            reader.get_up()
            return
        timer.stop()
        self.asleep = True
        self._look_at_files()

    def _look_at_files(self) -> None:
        if self._log.extend():
            self._serve()

    def _tell(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)


def _has_other_cpu(engine_pid: int) -> bool:
    """Return whether this process and the engine together may use more than one CPU."""
    cpus = os.sched_getaffinity(0)
    try:
        cpus = cpus | os.sched_getaffinity(engine_pid)
    except OSError:
        return len(cpus) > 1
    return len(cpus) > 1
