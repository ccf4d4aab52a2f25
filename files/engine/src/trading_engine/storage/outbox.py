"""The outbox: it passes the core's outputs to the logs of replies, the log of market data, and clients' connections."""

from __future__ import annotations

import re
from pathlib import Path

from trading_engine.machine.core import Core
from trading_engine.storage.messagelog import MessageLog

# Older releases named the 100th session of a date by three digits.
_SESSION = re.compile(r"\d{8}([0-9A-Z]{2}|\d{3})")
_ACCOUNT_FILES = 64
_ITCH_FILES = 16
_FLUSH_BYTES = 1 << 16
_LOGS_A_FLUSH = 32


# These are plain tuples, because every input creates some, and named tuples take too much time.
Reply = tuple[int, bytes, int]
"""The number of an account, sequenced SoupBinTCP packets for it, and the number of these packets."""
Output = tuple[list[Reply], bytes, int]
"""The outputs of one input: replies, messages of market data, and the number of these messages."""


class Outbox:
    """The logs of replies and market data.

    `collect` takes the outputs from the core, and `commit` adds them to the logs. Between the two calls, the input that
    caused the outputs must have been written to the journal.
    """

    def __init__(self, core: Core, replies: Path, retention_bytes: int, itch: Path, itch_bytes: int) -> None:
        self._core = core
        self._replies = replies
        self._itch_directory = itch
        self._retention_bytes = retention_bytes
        self._logs: list[MessageLog] = []
        self._dirty: dict[int, None] = {}
        self._session = ""
        self._taken_feed = 0
        self._itch = MessageLog(itch, "itch", max(itch_bytes // _ITCH_FILES, 1 << 16), itch_bytes)

    def collect(self) -> Output:
        """Take all outputs out of the core, so that it has none, and return them."""
        core = self._core
        replies: list[Reply] = []
        for account in core.touched:
            out = account.out
            packets = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            account.touched = False
            sequence = account.sequence
            replies.append((account.number, packets, sequence - account.taken))
            account.taken = sequence
        core.touched.clear()
        feed = core.feed
        market_data = feed[0] if len(feed) == 1 else b"".join(feed)
        feed.clear()
        feed_sequence = core.feed_sequence
        count = feed_sequence - self._taken_feed
        self._taken_feed = feed_sequence
        return replies, market_data, count

    def commit(self, output: Output) -> None:
        """Add the outputs to the logs.

        Most outputs are written to the files later, by `flush_replies` and `flush_feed`.
        """
        replies, market_data, market_data_count = output
        logs = self._logs
        for number, packets, count in replies:
            log = logs[number] if number < len(logs) else self.log(number)
            log.append(packets, count)
            if log.pending_bytes > _FLUSH_BYTES:
                log.flush()
            self._dirty[number] = None
        if market_data_count:
            self._itch.append(market_data, market_data_count)

    @property
    def next_market_data(self) -> int:
        """The number of the next message of market data."""
        return self._itch.last + 1

    def newest_session(self) -> str:
        """Return the greatest session name in the names of the logs' files, or "" if there is none.

        The journal may not have this session, for example after the journal was replaced by an older backup.
        """
        files = [*self._itch_directory.glob("*.itch"), *self._replies.glob("*/*.replies")]
        names = [path.name.partition("-")[0] for path in files]
        return max((name for name in names if _SESSION.fullmatch(name)), default="")

    def begin_day(self, session: str) -> None:
        """Begin the logs of a session. Call this before the core starts the day. Raises OSError."""
        self._session = session
        self._taken_feed = 0
        self._itch.resume(session, 0)
        for log in self._logs:
            log.resume(session, 0)

    def resume(self, session: str) -> None:
        """Continue the logs at the state of a snapshot, which must have been loaded into the core before.

        Raises OSError when a file cannot be read or deleted.
        """
        self._session = session
        self._taken_feed = self._core.feed_sequence
        self._itch.resume(session, self._core.feed_sequence)
        for account in self._core.by_number:
            self.log(account.number).resume(session, account.sequence)

    def finish_replay(self) -> None:
        """Remove from the logs what the replay did not produce. Write the market data that the logs lacked.

        Raises OSError when a file cannot be written.
        """
        for number in range(len(self._core.by_number)):
            self.log(number).finish_replay()
        self._itch.finish_replay()
        self._itch.flush()

    def log(self, number: int) -> MessageLog:
        """Return the log of replies of the account with this number."""
        while len(self._logs) <= number:
            account = self._core.by_number[len(self._logs)]
            log = MessageLog(
                self._replies / account.name,
                "replies",
                max(self._retention_bytes // _ACCOUNT_FILES, 1 << 14),
                self._retention_bytes,
            )
            log.resume(self._session, 0)
            self._logs.append(log)
        return self._logs[number]

    def flush_feed(self) -> None:
        """Write the market data that was added to the log into the log's file. Raises OSError when that fails."""
        self._itch.flush()

    def flush_replies(self, accounts: int = _LOGS_A_FLUSH) -> None:
        """Write the added replies of at most this number of accounts to their files.

        Call this several times a second. Raises OSError when a file cannot be written.
        """
        for number in list(self._dirty)[:accounts]:
            del self._dirty[number]
            log = self._logs[number]
            log.flush()
            log.release()

    def close(self) -> None:
        self._itch.close()
        for log in self._logs:
            log.close()
