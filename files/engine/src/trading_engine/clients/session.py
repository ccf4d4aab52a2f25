"""A connection's side of SoupBinTCP without its socket: login, identity, heartbeats and timeouts."""

from __future__ import annotations

from trading_engine.wire import proxied, soupbintcp
from trading_engine.wire.layout import WireError

LOGIN_LIMIT_NS = 10_000_000_000


class Session:
    """The state of a session. Times are monotonic nanoseconds. `account` is -1 until the login is accepted."""

    def __init__(self, now_ns: int) -> None:
        self.account = -1
        self.rest = b""
        self.client_address = ""
        self.connected_ns = now_ns
        self.received_ns = now_ns
        self.sent_ns = now_ns
        self.silence_limit_ns = soupbintcp.SILENCE_LIMIT_NS

    def proxy_header(self, data: bytes) -> bool:
        """Take a proxy's bytes; return whether it has named its client's address. Raises WireError.

        Bytes after the header are kept in `rest`.
        """
        self.rest += data
        header = proxied.split(self.rest)
        if header is None:
            return False
        self.client_address, self.rest = header
        return True

    def login_request(self, data: bytes) -> soupbintcp.LoginRequest | None:
        """Take the bytes before the login; return the request once it is complete. Raises WireError.

        Bytes after the request are kept in `rest`.
        """
        data = self.rest + data
        self.rest = b""
        while len(data) >= 2:
            length = (data[0] << 8) | data[1]
            if length == 0:
                raise WireError("packet of length 0")
            if len(data) == 2:
                break
            kind = data[2]
            if kind not in (soupbintcp.LOGIN_REQUEST, soupbintcp.CLIENT_HEARTBEAT, soupbintcp.DEBUG):
                raise WireError("not a login request")
            if (length + 2 > soupbintcp.LONGEST_LOGIN_BYTES and kind != soupbintcp.DEBUG) or length > 1024:
                raise WireError("packet too long")
            if len(data) < length + 2:
                break
            payload, data = data[3 : length + 2], data[length + 2 :]
            if kind == soupbintcp.LOGIN_REQUEST:
                self.rest = data
                return soupbintcp.parse_login_request(payload)
        self.rest = data
        return None

    def timer(self, now_ns: int) -> str:
        """Return "heartbeat" when one is due, "silent" when the other side has timed out, else an empty text."""
        if self.account < 0:
            return "silent" if now_ns - self.connected_ns > LOGIN_LIMIT_NS else ""
        if now_ns - self.received_ns > self.silence_limit_ns:
            return "silent"
        return "heartbeat" if now_ns - self.sent_ns >= soupbintcp.HEARTBEAT_INTERVAL_NS else ""


def first_number(request: soupbintcp.LoginRequest, session: str, first: int, last: int) -> int | None:
    """Return the number of the first message to send, or None when the requested message is not available.

    `first` is the oldest message that is still kept, `last` is the newest of all.
    """
    if request.session not in ("", session):
        return None
    if request.sequence == 0:
        return last + 1
    if request.sequence > last + 1 or request.sequence < first:
        return None
    return request.sequence
