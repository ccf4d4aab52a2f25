"""One subscriber's SoupBinTCP session without sockets: packets in, bytes out, at the subscriber's own pace."""

from collections.abc import Callable

from trading_engine.wire import soupbintcp
from trading_engine.wire.layout import WireError

from trading_feed.log import Log, LogFile

CHUNK_BYTES = 64 * 1024


class Subscriber:
    """A subscriber. `receive` sets `login_request`; `admit` or `refuse` answers it after the check of the password."""

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
        """Take the subscriber's bytes; raises WireError for bytes that are not SoupBinTCP."""
        for kind, payload in self._splitter.feed(data):
            if kind == soupbintcp.LOGIN_REQUEST and self.login_request is None:
                self.login_request = soupbintcp.parse_login_request(payload)
            elif kind == soupbintcp.LOGOUT_REQUEST:
                self.ended = True
            elif kind not in (soupbintcp.CLIENT_HEARTBEAT, soupbintcp.DEBUG, soupbintcp.UNSEQUENCED):
                raise WireError(f"packet of type {chr(kind)!r} is not for a subscriber to send now")

    def admit(self) -> bytes:
        """Answer a login with the right password: accept it from the requested message on, or reject it."""
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
        self.ended = True
        return soupbintcp.login_rejected(reason)

    def packets(self, read: Callable[[LogFile, int, int], tuple[bytes, int, int]]) -> bytes:
        """Return the next packets for this subscriber, at most some 64 KiB of a file; empty when it has everything.

        `read` is LogFile.packets, or a function that remembers its last results for subscribers at the same place.
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
