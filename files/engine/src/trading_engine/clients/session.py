"""The SoupBinTCP protocol of one connection, without its socket: the login request, heartbeats and timeouts."""

from __future__ import annotations

from trading_engine.wire import proxied, soupbintcp
from trading_engine.wire.layout import WireError

LOGIN_LIMIT_NS = 10_000_000_000


class Session:
    """The state of a connection. `account` is the account's number, or -1 until the login is accepted.

    Times are monotonic. `rest` holds received bytes that are not a complete packet yet.
    """

    def __init__(self, now_ns: int) -> None:
        self.account = -1
        self.rest = b""
        self.client_address = ""
        self.connected_ns = now_ns
        self.received_ns = now_ns
        self.sent_ns = now_ns
        self.silence_limit_ns = soupbintcp.SILENCE_LIMIT_NS

    def proxy_header(self, data: bytes) -> bool:
        """Add bytes that a proxy sent. Return whether the PROXY header with the client's address is complete.

        Bytes after the header are kept in `rest`. Raises WireError for a malformed header.
        """
        self.rest += data
        header = proxied.split(self.rest)
        if header is None:
            return False
        self.client_address, self.rest = header
        return True

    def login_request(self, data: bytes) -> soupbintcp.LoginRequest | None:
        """Add bytes from a client that has not logged in.

        Return the client's login request, or None while it is incomplete. Bytes after the request are kept in `rest`.
        Raises WireError for packets that the protocol does not allow.
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
        """Return what is due now: "heartbeat" if one must be sent, "silent" if the client was silent for too long.

        Return "" if nothing is due.
        """
        if self.account < 0:
            return "silent" if now_ns - self.connected_ns > LOGIN_LIMIT_NS else ""
        if now_ns - self.received_ns > self.silence_limit_ns:
            return "silent"
        return "heartbeat" if now_ns - self.sent_ns >= soupbintcp.HEARTBEAT_INTERVAL_NS else ""


def first_number(request: soupbintcp.LoginRequest, session: str, first: int, last: int) -> int | None:
    """Return the number of the first message to send after a login, or None if that message is not available.

    `session` is the name of the present session. `first` is the number of the oldest message that is still kept, and
    `last` is the number of the newest message.
    """
    if request.session not in ("", session):
        return None
    if request.sequence == 0:
        return last + 1
    if request.sequence > last + 1 or request.sequence < first:
        return None
    return request.sequence
