"""The matching core with its journal. The engine writes every input to the journal before it sends the outputs.

This module decides the sequence of these steps. After a failed write it stops the engine: from then on nothing is
recorded or sent until a restart (state FAILED). The module uses no sockets.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from trading_engine.cancellations import Cancellations
from trading_engine.host.clock import Clock, SessionsUsedUpError
from trading_engine.host.descriptors import TRANSIENT
from trading_engine.machine import inputs
from trading_engine.machine.account import Account
from trading_engine.machine.core import Core
from trading_engine.machine.inputs import Record, apply_record
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.published.catalogue import STALL_NS
from trading_engine.published.histogram import Histogram
from trading_engine.published.ring import RingWriter
from trading_engine.settings.config import CANARY_ACCOUNT, EngineConfig
from trading_engine.storage import journal, snapshot
from trading_engine.storage.journal import JournalError, Writer
from trading_engine.storage.outbox import Outbox, Output
from trading_engine.storage.recovery import Recovered, recover
from trading_engine.storage.snapshot import SnapshotError, SnapshotHead

CLOSED_FILE: Final = "order-entry-closed"
"""While this file is in the journal's directory, order entry is closed, and a start also checks the recovered state."""
_REFUSE_AT: Final = 0.95
"""The engine refuses new orders from this share of the journal's budget on."""
_monotonic_ns: Final = time.monotonic_ns
_FEED_PACE_NS: Final = 1_000_000
"""The least time between two writes to the log of market data.

A write in each turn would take longer than the matching of an order.
"""


class StartError(Exception):
    """The engine cannot start. The message says what is wrong, where, and what to do."""


class Engine:
    """The matching core, its journal and its logs. Call `start` once, then `read` or `submit` for each input.

    The function `deliver` is called with each output, and sends it to clients. Before that the input is as durable as
    the configuration requires: written to the kernel ("os") or on the disk ("disk").
    """

    def __init__(self, config: EngineConfig, loop: AbstractEventLoop) -> None:
        self.config = config
        self.core = Core()
        self.cancellations = Cancellations(self, loop)
        self.clock = Clock(config.zone)
        self.failure = ""
        self.closed_file = config.journal.directory / CLOSED_FILE
        self.recovered = Recovered()
        self._entry_closed = False
        self.used_bytes = 0
        self._left_bytes = 0
        self.syncs = 0
        self.deliver: Callable[[Output], None] = lambda output: None
        self.on_failure: Callable[[str], None] = lambda reason: None
        self.outbox = Outbox(
            self.core,
            config.journal.directory / "replies",
            config.retention_bytes,
            config.itch.directory,
            config.itch.budget_bytes,
        )
        self.journal_times = Histogram()
        self.feed_times = Histogram()
        self.ring: RingWriter | None = None
        self.on_progress: Callable[[int], None] = lambda records: None
        self.on_stall: Callable[[str, int], None] = lambda cause, duration_ns: None
        self.writer: Writer | None = None
        self._loop = loop
        self._threads = ThreadPoolExecutor(2, "journal")
        self._on_disk = config.journal.durability == "disk"
        self._waiting: list[Output] = []
        self._unshown: list[Output] = []
        self._syncing: list[Output] = []
        self._sync: Future[None] | None = None
        self._spare: Future[None] | None = None
        self._synced_bytes = 0
        self._unsynced_since_ns = 0  # when the first write after the start of the last sync began; 0 without one
        self._syncing_since_ns = 0
        self._feed_scheduled = False
        self._feed_flushed_ns = 0
        self._lock = -1

    # -- start and stop ---------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Create the directories, and lock the journal's directory, so that no second engine uses it.

        Raises StartError when that fails.
        """
        directory = self.config.journal.directory
        try:
            for path in (directory, self.config.itch.directory, directory / "replies"):
                path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(directory)
        except OSError as error:
            raise self._unusable(error) from error

    def start(self) -> Recovered:
        """Recover the state, record the configuration in the journal, and start a day if none is open.

        Returns the result of the recovery. Raises StartError when the engine cannot start.
        """
        directory = self.config.journal.directory
        found = Recovered()
        try:
            self._entry_closed = self.closed_file.exists()
            if self.config.journal.durability != "none":
                doubts = self._entry_closed
                found = recover(self.core, self.outbox, directory, MACHINE_VERSION, self.on_progress, doubts)
                settings = self.config.journal
                self.writer = Writer(directory, settings.segment_bytes, MACHINE_VERSION, found.segment, found.records)
                self.used_bytes = journal.used_bytes(directory)
            newest = max(self.core.day, self.outbox.newest_session())
        except (JournalError, SnapshotError) as damage:
            raise StartError(str(damage)) from damage
        except OSError as error:
            raise self._unusable(error) from error
        day = self.core.day
        if self.ring is not None:
            self.ring.begin(day, self.outbox.next_market_data)
        self.recovered = found
        self.clock.anchor(day or self.clock.today(), found.last_time_ns)
        settings_json = json.dumps(self.config.core_settings(), sort_keys=True).encode()
        self.submit(inputs.CONFIGURE, payload=settings_json)
        self._accept(self.core.accepting or self.core.entry_closed)
        for account in self.core.by_number:
            if account.name not in self.config.accounts and is_to_be_killed(account):
                self.kill(account.name)
        if not self.core.open or day != newest or self.clock.is_over(day):
            try:
                self.start_day(self.clock.next_session(newest))
            except SessionsUsedUpError as end:
                raise StartError(f"{end}; start again when the date of [day] zone is a later one") from end
        return found

    def _unusable(self, error: OSError) -> StartError:
        directory, itch = self.config.journal.directory, self.config.itch.directory
        if error.errno == errno.EROFS:
            advice = (
                "either the file system failed and is mounted read-only (see dmesg, repair it, mount it again), or the "
                "directory is not among the unit's ReadWritePaths="
            )
        elif error.errno == errno.EIO:
            advice = (
                "the device or its file system has failed. See dmesg, repair or replace it, mount it again, "
                "then start the engine"
            )
        else:
            advice = (
                f"the engine's user needs to read and write {directory} and {itch} (see [journal] and [itch]), "
                f"with {self.config.journal.segment_bytes} bytes free"
            )
        return StartError(f"{error.filename or directory}: {error.strerror}; {advice}")

    def end_day(self) -> None:
        """End the open day. When this returns, all outputs of the day were sent, unless the engine has failed."""
        self.submit(inputs.END_DAY)
        if self._on_disk and self.writer is not None and not self.failure:
            try:
                self.writer.sync()
            except OSError as error:
                self.fail(f"journal sync: {error}")
                return
            self._synced_bytes = self.writer.bytes_written
            self._unsynced_since_ns = self._syncing_since_ns = 0
            released, self._syncing, self._waiting = self._syncing + self._waiting, [], []
            self._release_all(released)

    def start_day(self, session: str) -> None:
        """End the open day, if there is one, and start the session that has this name."""
        if self.core.open or self.core.closing:
            self.end_day()
        # If the present date is before the session's date, the wall clock has no valid time for it. So the times of the
        # last session are continued.
        runs_on = self.clock.today() < session[:8] == self.core.day[:8]
        self.clock.anchor(session, self.clock.now() if runs_on else 0)
        self.outbox.begin_day(session)
        if self.ring is not None:
            self.ring.begin(session, 1)
        self.submit(inputs.START_DAY, payload=session.encode("ascii"))

    def stop(self) -> None:
        """Close the journal, write the logs, and write a snapshot from which any version of the engine can start.

        After a failure the snapshot and the logs are not written. Raises OSError.
        """
        self._threads.shutdown(wait=True)
        if not self.failure:
            self._release_all(self._syncing + self._waiting)
        if not self.failure:
            if self.writer is not None:
                self.writer.close()
            # The logs are written before the snapshot: a start from it replays nothing, and could not complete them.
            self.outbox.close()
            if self.ring is not None:
                self.ring.close()
            if self.writer is not None:
                head = SnapshotHead(MACHINE_VERSION, self.writer.segment + 1, self.writer.records, self.clock.now())
                snapshot.write(self.config.journal.directory, self.core, head)
        if self._lock >= 0:
            os.close(self._lock)

    # -- inputs -----------------------------------------------------------------------------------------------------

    def read(self, account: int, data: bytes, monotonic_ns: int) -> int:
        """Process the bytes that a client session has sent, which were read at this monotonic time.

        Return the number of bytes that were processed, which is the size of the complete packets.
        """
        core = self.core
        before = core.messages
        time_ns = self.clock.at(monotonic_ns)
        consumed = core.apply(account, data, time_ns)
        if core.messages != before:
            payload = data if consumed == len(data) else data[:consumed]
            self._record(inputs.READ, account, time_ns, payload)
        return consumed

    def submit(self, kind: int, account: int = 0, payload: bytes = b"") -> None:
        """Process an input that is not a read of a client session, at the present time.

        `machine.inputs` lists the kinds of inputs.
        """
        time_ns = self.clock.now()
        apply_record(self.core, Record(kind, 0, time_ns, account, payload))
        self._record(kind, account, time_ns, payload)

    def kill(self, name: str) -> None:
        """Switch the account's kill switch on, so that it cannot enter orders. Its open orders stay in the book.

        `cancellations.of_account` cancels these orders.
        """
        self.submit(inputs.ADMIN, payload=json.dumps({"do": "kill", "account": name}, sort_keys=True).encode())

    def disconnect(self, number: int) -> None:
        """Process the end of the account's connection.

        If the account has the setting cancel_on_disconnect, its orders are cancelled.
        """
        self.submit(inputs.DISCONNECT, number)
        if self.core.by_number[number].leaving:
            self.cancellations.of_account(number)

    def tick(self) -> None:
        """Do the work that is due: expiries, writes of replies, and preparations of the journal.

        Call this several times a second.
        """
        if self.failure:
            return
        self.cancellations.expire()
        if self.ring is not None:
            self.ring.take_times(self.feed_times)
        try:
            self.outbox.flush_replies()
        except OSError as error:
            self.fail(f"reply log: {error}")
            return
        writer = self.writer
        if writer is None:
            return
        if self._spare is None and writer.wants_spare():
            self._spare = self._loop.run_in_executor(self._threads, writer.prepare_spare)
            self._spare.add_done_callback(self._spare_done)
        if not self._on_disk and writer.bytes_written != self._synced_bytes:
            self._start_sync()

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def unsynced_bytes(self) -> int:
        """The number of bytes that were written to the journal but are not known to be on the disk."""
        return self.writer.bytes_written - self._synced_bytes if self.writer is not None else 0

    @property
    def unsynced_ns(self) -> int:
        """The time since the oldest write to the journal that is not known to be on the disk.

        It is in nanoseconds, and 0 without such a write.
        """
        since_ns = self._syncing_since_ns or self._unsynced_since_ns
        return _monotonic_ns() - since_ns if since_ns else 0

    def fail(self, reason: str) -> None:
        """Set the state FAILED: from now on nothing is recorded and nothing is sent, until a restart."""
        if not self.failure:
            self.failure = reason
            self.on_failure(reason)

    def disk_left_bytes(self) -> tuple[int, int]:
        """Return two numbers of bytes: by how much the journal may still grow, and the free space on its disk.

        The journal may grow to its budget, and must leave the reserve free. Raises OSError when the disk cannot be
        read.
        """
        settings = self.config.journal
        status = os.statvfs(settings.directory)
        free_bytes = status.f_bavail * status.f_frsize
        return max(0, min(settings.budget_bytes - self.used_bytes, free_bytes - settings.reserve_bytes)), free_bytes

    def watch_disk(self) -> int:
        """Check how many bytes the journal may still grow, and return that number.

        If only a few bytes are left, new orders are refused from now on. Otherwise they are accepted again.
        """
        if self.writer is None or self.failure:
            return 0
        try:
            self.used_bytes = journal.used_bytes(self.config.journal.directory)
            left_bytes, _ = self.disk_left_bytes()
        except OSError as error:
            if error.errno in TRANSIENT:
                return self._left_bytes  # nothing was written, so nothing is lost, and the next call reads again
            self.fail(f"journal directory: {error}")
            return 0
        self._left_bytes = left_bytes
        self._accept(left_bytes > (1 - _REFUSE_AT) * self.config.journal.budget_bytes)
        return left_bytes

    def close_entry(self) -> None:
        """Close order entry: from now on reject new orders, but accept cancels.

        Order entry stays closed after a restart. Raises OSError when that cannot be recorded.
        """
        self.closed_file.touch(0o640)
        self._entry_closed = True
        self._accept(self.core.accepting)

    def open_entry(self) -> None:
        """Open order entry: from now on accept new orders again, if the journal has space for them.

        Raises OSError when that cannot be recorded.
        """
        self.closed_file.unlink(missing_ok=True)
        self._entry_closed = False
        self._accept(self.core.accepting or self.core.entry_closed)
        self.watch_disk()

    def _accept(self, has_room: bool) -> None:
        wanted = inputs.ENTRY_CLOSED if self._entry_closed else inputs.TAKES_ORDERS if has_room else inputs.NO_SPACE
        core = self.core
        present = (
            inputs.ENTRY_CLOSED if core.entry_closed else inputs.TAKES_ORDERS if core.accepting else inputs.NO_SPACE
        )
        if wanted != present:
            self.submit(inputs.ACCEPTING, payload=wanted)

    # -- outputs ----------------------------------------------------------------------------------------------------

    def _record(self, kind: int, account: int, time_ns: int, payload: bytes) -> None:
        if self.failure:
            return
        writer = self.writer
        if writer is not None:
            begun_ns = _monotonic_ns()
            try:
                writer.append(kind, account, time_ns, payload)
            except OSError as error:
                self.fail(f"journal {writer.path}: {error.strerror or error}")
                return
            if not self._unsynced_since_ns:
                self._unsynced_since_ns = begun_ns
            lasted_ns = _monotonic_ns() - begun_ns
            self.journal_times.record(lasted_ns)
            if lasted_ns > STALL_NS:
                self.on_stall("write", lasted_ns)
        output = self.outbox.collect()
        if not self._on_disk:
            self._release(output)
        else:
            self._waiting.append(output)
            if self._sync is None:
                self._start_sync()

    def _release(self, output: Output) -> None:
        market_data_count = output[2]
        try:
            self.outbox.commit(output)
            if market_data_count:
                self._unshown.append(output)
            self.deliver(output)
        except OSError as error:
            self.fail(f"reply log: {error}")
            return
        if not market_data_count:
            return
        if self.ring is not None:
            # deliver() may drop a connection. That is another input, whose output is released within deliver(), after
            # this output was added to _unshown. So the outputs are written in the right order.
            for _, market_data, count in self._unshown:
                self.ring.write(market_data, count)
        self._unshown.clear()
        if not self._feed_scheduled:
            self._feed_scheduled = True
            if _monotonic_ns() - self._feed_flushed_ns >= _FEED_PACE_NS:
                self._loop.call_soon(self._flush_feed)
            else:
                self._loop.call_later(_FEED_PACE_NS / 1e9, self._flush_feed)

    def _release_all(self, outputs: list[Output]) -> None:
        for output in outputs:
            if self.failure:
                return
            self._release(output)

    def _flush_feed(self) -> None:
        self._feed_scheduled = False
        self._feed_flushed_ns = _monotonic_ns()
        if self.failure:
            return
        try:
            self.outbox.flush_feed()
        except OSError as error:
            self.fail(f"ITCH log: {error}")
            return
        if self.ring is not None:
            self.ring.publish()

    def _start_sync(self) -> None:
        writer = self.writer
        if writer is None or self._sync is not None:
            return
        self._syncing, self._waiting = self._waiting, []
        self._sync_target_bytes = writer.bytes_written
        self._syncing_since_ns, self._unsynced_since_ns = self._unsynced_since_ns, 0
        self._sync = self._loop.run_in_executor(self._threads, writer.sync)
        self._sync.add_done_callback(self._sync_done)

    def _sync_done(self, done: Future[None]) -> None:
        self._sync = None
        error = done.exception()
        if error is not None:
            self.fail(f"journal sync: {error}")
            return
        if self.failure:
            return
        self.syncs += 1
        self._synced_bytes = max(self._synced_bytes, self._sync_target_bytes)
        self._syncing_since_ns = 0
        released, self._syncing = self._syncing, []
        self._release_all(released)
        if self._waiting and not self.failure:
            self._start_sync()

    def _spare_done(self, done: Future[None]) -> None:
        self._spare = None
        error = done.exception()
        if error is not None:
            self.fail(f"preparing the next journal segment: {error}")


def is_to_be_killed(account: Account) -> bool:
    """Return whether an account that is no longer in the configuration needs its kill switch switched on.

    For the account of the canary, the engine's own client, this is so only if the account has open orders. The canary
    may be configured again later.
    """
    return not account.killed and (account.name != CANARY_ACCOUNT or account.open_orders > 0)


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StartError(
            f"{directory} is in use by another engine; stop it, or give this one another [journal] directory"
        ) from error
    return descriptor
