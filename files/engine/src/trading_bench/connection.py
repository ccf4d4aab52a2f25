"""The login of the load generator at the engine, or at the feed.

It waits for the answer to the login, and then returns a non-blocking socket.
"""

import socket
import time
from pathlib import Path
from typing import NamedTuple

from trading_engine.wire import soupbintcp
from trading_engine.wire.layout import WireError

LOGIN_TIMEOUT_S = 10.0
LIVE = 0
REFUSALS = {
    soupbintcp.NOT_AUTHORISED: "not authorised: check account and password",
    soupbintcp.SESSION_NOT_AVAILABLE: "session not available",
}


class BenchError(Exception):
    """The run cannot start, or the connection was lost. The message says what is wrong, where, and what to do."""


class RefusedError(BenchError):
    """The login was rejected. The message says by whom and why."""


def read_password(path: Path) -> str:
    """Return the password in the first line of a file.

    Raises BenchError if the file cannot be read or SoupBinTCP does not allow the password.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise BenchError(f"cannot read the password file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BenchError(f"the password in {path} is not ASCII") from error
    if not lines or not 1 <= len(lines[0]) <= soupbintcp.PASSWORD_BYTES:
        raise BenchError(
            f"{path} must hold a password of 1 to {soupbintcp.PASSWORD_BYTES} characters in its first line"
        )
    return lines[0]


def connect(
    host: str,
    port: int,
    account: str,
    password: str,
    kind: str = "an order-entry port",
    service: str = "the engine",
) -> tuple[socket.socket, soupbintcp.Splitter]:
    """Log in for new messages only. Return the non-blocking socket, and the splitter for all further bytes.

    The splitter divides the bytes into packets. `kind` and `service` name the expected service at that address in error
    messages. Raises BenchError when the login fails.
    """
    # Packets that arrived with the answer are ignored: before the first order they can only be heartbeats.
    login = log_in(host, port, account, password, LIVE, kind=kind, service=service)
    return login.socket, login.splitter


class Login(NamedTuple):
    """The result of a login at the engine or the feed.

    `accepted` has the session's name and the number of the next message. `arrived` are the packets that were received
    together with the answer, and `splitter` has the beginning of the next packet.
    """

    socket: socket.socket
    splitter: soupbintcp.Splitter
    accepted: soupbintcp.LoginAccepted
    arrived: list[tuple[int, bytes]]


def log_in(
    host: str,
    port: int,
    account: str,
    password: str,
    sequence: int,
    session: str = "",
    kind: str = "an order-entry port",
    service: str = "the engine",
) -> Login:
    """Log in, and request the session's messages from the number `sequence` on. Return the result of the login.

    With LIVE as `sequence` only new messages are requested. An empty `session` means the current session. Raises
    BenchError when the login fails.
    """
    where = f"{host}:{port}"
    try:
        request = soupbintcp.login_request(account, password, session, sequence)
    except (WireError, UnicodeEncodeError) as error:
        raise BenchError(f"account {account!r} cannot be a SoupBinTCP user name: {error}") from error
    try:
        connection = socket.create_connection((host, port), LOGIN_TIMEOUT_S)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchError(
            f"cannot connect to {where}: {reason}; is {service} running, and the port open from here?"
        ) from error
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        splitter = soupbintcp.Splitter()
        accepted, arrived = _answer(connection, splitter, where, account, kind)
        connection.setblocking(False)
    except BaseException:
        connection.close()
        raise
    return Login(connection, splitter, accepted, arrived)


def _answer(
    connection: socket.socket, splitter: soupbintcp.Splitter, where: str, account: str, what: str
) -> tuple[soupbintcp.LoginAccepted, list[tuple[int, bytes]]]:
    """Read from the socket until the answer to the login has arrived. Return the answer and all packets after it.

    Raises BenchError when no valid answer comes.
    """
    deadline_s = time.monotonic() + LOGIN_TIMEOUT_S
    while True:
        try:
            connection.settimeout(max(deadline_s - time.monotonic(), 0.001))
            data = connection.recv(65536)
            packets = splitter.feed(data)
        except TimeoutError as error:
            raise BenchError(f"{where} did not answer the login within {LOGIN_TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise BenchError(f"{where} broke the connection during the login: {error.strerror}") from error
        except WireError as error:
            raise BenchError(f"{where} does not speak SoupBinTCP: {error}") from error
        if not data:
            raise BenchError(f"{where} closed the connection during the login")
        for number, (kind, payload) in enumerate(packets):
            if kind == soupbintcp.LOGIN_ACCEPTED:
                return soupbintcp.parse_login_accepted(payload), packets[number + 1 :]
            if kind == soupbintcp.LOGIN_REJECTED:
                reason = REFUSALS.get(payload.decode("latin-1"), f"unknown reason {payload!r}")
                raise RefusedError(f"{where} rejected the login of account {account!r}: {reason}")
            if kind not in (soupbintcp.DEBUG, soupbintcp.SERVER_HEARTBEAT):
                raise BenchError(f"{where} answered the login with packet type {chr(kind)!r}: not {what}")
