"""SoupBinTCP 3.0 and 4.0, the protocol that carries OUCH and ITCH messages over TCP.

A packet has three parts: the length of the other two as a big-endian u16, a type letter and a payload. Messages that
the server sends as "sequenced" are numbered, but the packets do not contain the number. The packet Login Accepted has
the number of the next such message, and the client counts from there.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from trading_engine.wire.layout import WireError

DEBUG = ord("+")
LOGIN_REQUEST = ord("L")
LOGIN_ACCEPTED = ord("A")
LOGIN_REJECTED = ord("J")
SEQUENCED = ord("S")
UNSEQUENCED = ord("U")
SERVER_HEARTBEAT = ord("H")
CLIENT_HEARTBEAT = ord("R")
LOGOUT_REQUEST = ord("O")
END_OF_SESSION = ord("Z")

NOT_AUTHORISED = "A"
SESSION_NOT_AVAILABLE = "S"

HEARTBEAT_INTERVAL_NS = 1_000_000_000
SILENCE_LIMIT_NS = 15_000_000_000

USERNAME_BYTES = 6
PASSWORD_BYTES = 10
SESSION_BYTES = 10

SERVER_HEARTBEAT_PACKET = b"\x00\x01H"
CLIENT_HEARTBEAT_PACKET = b"\x00\x01R"
LOGOUT_REQUEST_PACKET = b"\x00\x01O"
END_OF_SESSION_PACKET = b"\x00\x01Z"

_HEAD = struct.Struct(">HB")
_LOGIN_REQUEST_BYTES = USERNAME_BYTES + PASSWORD_BYTES + SESSION_BYTES + 20
_TIMEOUT_BYTES = 5
LONGEST_LOGIN_BYTES = 3 + _LOGIN_REQUEST_BYTES + _TIMEOUT_BYTES  # the greatest length of a Login Request
"""Of the whole packet."""
_LONGEST_TIMEOUT_S = 60


class LoginRequest(NamedTuple):
    """A login request. It also says from which number on the client wants the sequenced messages.

    An empty `session` means the current session. `sequence` is the number of the first wanted message: 1 means all
    messages, 0 only new ones. `timeout_s` is the time in seconds for which the client may be silent, or 0 if the client
    does not say.
    """

    username: str
    password: str
    session: str
    sequence: int
    timeout_s: int = 0

    def __repr__(self) -> str:
        """Return a text of the request without the password, because such texts are written to logs."""
        return f"LoginRequest({self.username!r}, session={self.session!r}, sequence={self.sequence})"


class LoginAccepted(NamedTuple):
    """The answer to a login that succeeded. `sequence` is the number of the next sequenced message."""

    session: str
    sequence: int


def packet(kind: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a packet. Raises WireError when the payload is too long for the length field."""
    if len(payload) > 0xFFFE:
        raise WireError(f"SoupBinTCP: payload of {len(payload)} bytes is longer than 65534")
    return _HEAD.pack(len(payload) + 1, kind) + payload


def sequenced(message: bytes) -> bytes:
    return packet(SEQUENCED, message)


def unsequenced(message: bytes) -> bytes:
    return packet(UNSEQUENCED, message)


def debug(text: str) -> bytes:
    return packet(DEBUG, text.encode("ascii", "replace"))


def login_request(username: str, password: str, session: str = "", sequence: int = 1) -> bytes:
    """Return the bytes of a Login Request packet. Raises WireError when a text is longer than its field."""
    return packet(
        LOGIN_REQUEST,
        _text("username", username, USERNAME_BYTES)
        + _text("password", password, PASSWORD_BYTES)
        + _text("session", session, SESSION_BYTES)
        + b"%20d" % sequence,
    )


def login_accepted(session: str, sequence: int) -> bytes:
    """Return the bytes of a Login Accepted packet.

    As specified, the session's name is padded with blanks on the left.
    """
    return packet(LOGIN_ACCEPTED, session.encode("ascii").rjust(SESSION_BYTES) + b"%20d" % sequence)


def login_rejected(reason: str) -> bytes:
    return packet(LOGIN_REJECTED, reason.encode("ascii"))


def parse_login_request(payload: bytes) -> LoginRequest:
    """Return the content of a Login Request packet. Raises WireError when it is malformed.

    Clients' implementations differ. Numbers and names may be padded on either side, with blanks or NULs. A timeout of
    five digits, in seconds, may follow. A timeout over 60 counts as 60. A timeout of 0 means that there is none.
    """
    if len(payload) not in (_LOGIN_REQUEST_BYTES, _LOGIN_REQUEST_BYTES + _TIMEOUT_BYTES):
        raise WireError(f"SoupBinTCP: a Login Request has {_LOGIN_REQUEST_BYTES} bytes, got {len(payload)}")
    text = payload.decode("latin-1").replace("\0", " ")
    timeout_s = min(_number(text[46:], "heartbeat timeout"), _LONGEST_TIMEOUT_S)
    return LoginRequest(text[0:6].strip(), text[6:16].strip(), text[16:26].strip(), _number(text[26:46]), timeout_s)


def parse_login_accepted(payload: bytes) -> LoginAccepted:
    """Return the content of a Login Accepted packet. Raises WireError when it is malformed."""
    if len(payload) != SESSION_BYTES + 20:
        raise WireError(f"SoupBinTCP: a Login Accepted has {SESSION_BYTES + 20} bytes, got {len(payload)}")
    text = payload.decode("latin-1")
    return LoginAccepted(text[0:10].strip(), _number(text[10:30]))


class Splitter:
    """The splitter of a byte stream into packets. The stream may arrive in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Add the next piece of the stream. Return the packets that are now complete, as (type letter, payload).

        Raises WireError for a packet of length 0.
        """
        data = self._rest + data if self._rest else data
        packets = []
        start, size = 0, len(data)
        while size - start >= 3:
            length = (data[start] << 8) | data[start + 1]
            if length == 0:
                raise WireError("SoupBinTCP: packet of length 0")
            end = start + 2 + length
            if end > size:
                break
            packets.append((data[start + 2], data[start + 3 : end]))
            start = end
        if size - start == 2 and data[start] == 0 and data[start + 1] == 0:
            raise WireError("SoupBinTCP: packet of length 0")
        self._rest = data[start:]
        return packets


def _text(name: str, value: str, width: int) -> bytes:
    raw = value.encode("ascii", "strict")
    if len(raw) > width:
        raise WireError(f"SoupBinTCP: {name} is longer than {width} characters")
    return raw.ljust(width)


def _number(text: str, what: str = "sequence number") -> int:
    digits = text.strip() or "0"
    if not (digits.isascii() and digits.isdigit()):
        raise WireError(f"SoupBinTCP: {what} {digits!r} is not a number")
    return int(digits)
