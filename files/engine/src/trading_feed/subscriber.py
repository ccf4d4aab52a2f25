"""The SoupBinTCP protocol of one subscriber, without sockets.

The server passes in the bytes that it receives, and asks for the bytes to send when the subscriber can receive more.
"""

from collections.abc import Callable

from trading_engine.wire import soupbintcp
from trading_engine.wire.layout import WireError

from trading_feed.log import Log, LogFile

CHUNK_BYTES = 64 * 1024


class Subscriber:
    """A subscriber to market data. `sequence` is the number of its next message, or 0 before the login.

    `receive` sets `login_request`. The server then checks the password and calls `admit` or `refuse`. `ended` becomes
    True when the connection is to be closed.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._splitter = soupbintcp.Splitter()
        self._session = ""
        self._file: LogFile | None = None
        self._offset_bytes = 0
        self.sequence = 0
        self.login_request: soupbintcp.LoginRequest | None = None
        self.ended = False

    @property
    def admitted(self) -> bool:
        return self.sequence > 0

    def receive(self, data: bytes) -> None:
        """Process bytes from the subscriber. Raises WireError for bytes that the protocol does not allow."""
        for kind, payload in self._splitter.feed(data):
            if kind == soupbintcp.LOGIN_REQUEST and self.login_request is None:
                self.login_request = soupbintcp.parse_login_request(payload)
            elif kind == soupbintcp.LOGOUT_REQUEST:
                self.ended = True
            elif kind not in (soupbintcp.CLIENT_HEARTBEAT, soupbintcp.DEBUG, soupbintcp.UNSEQUENCED):
                raise WireError(f"packet of type {chr(kind)!r} is not for a subscriber to send now")

    def admit(self) -> bytes:
        """Return the answer to a login with the right password.

        The login is accepted, and messages follow from the requested one on. If the log does not have the requested
        session or message, the login is rejected.
        """
        assert self.login_request is not None
        session = self._log.session(self.login_request.session)
        if session is None:
            return self.refuse(soupbintcp.SESSION_NOT_AVAILABLE)
        following = self._log.next_sequence(session)
        wanted = self.login_request.sequence or following
        if not session.first_sequence <= wanted <= following:
            return self.refuse(soupbintcp.SESSION_NOT_AVAILABLE)
        self._session, self.sequence = session.name, wanted
        return soupbintcp.login_accepted(session.name, wanted)

    def refuse(self, reason: str) -> bytes:
        """Return the answer that rejects the login. `reason` is SoupBinTCP's code, one character."""
        self.ended = True
        return soupbintcp.login_rejected(reason)

    def packets(self, read: Callable[[LogFile, int, int], tuple[bytes, int, int]]) -> bytes:
        """Return the next packets for this subscriber, or b"" if the subscriber has all messages.

        They are either all messages of the tail from `sequence` on, or up to CHUNK_BYTES of a log file. `read` is
        LogFile.packets, or the same function with a cache.
        """
        log, tail = self._log, self._log.tail
        if tail.holds(self._session, self.sequence):
            self._file = None
            data = tail.since(self.sequence)
            self.sequence = tail.following
            return data
        session = log.session(self._session)
        file = session.file_of(self.sequence) if session else None
        if session is None or file is None:
            self.ended = True
            return soupbintcp.END_OF_SESSION_PACKET
        if self.sequence >= session.next_sequence:
            if log.is_over(session):
                self.ended = True
                return soupbintcp.END_OF_SESSION_PACKET
            return b""
        if file is not self._file:
            self._file, self._offset_bytes = file, file.offset_of(self.sequence)
        end_bytes = min(self._offset_bytes + CHUNK_BYTES, file.end_bytes)
        data, count, self._offset_bytes = read(file, self._offset_bytes, end_bytes)
        self.sequence += count
        return data
