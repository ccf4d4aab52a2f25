"""One order-entry session as a blocking client: connect, log in, then a non-blocking socket for the generator."""

import socket
import time
from pathlib import Path

from trading_engine.wire import soupbintcp
from trading_engine.wire.layout import WireError

LOGIN_TIMEOUT_S = 10.0
LIVE = 0
REFUSALS = {
    soupbintcp.NOT_AUTHORISED: "not authorised: check account and password",
    soupbintcp.SESSION_NOT_AVAILABLE: "session not available",
}


class BenchError(Exception):
    """The run cannot start or was broken off; the text says what, where and what to do."""


def read_password(path: Path) -> str:
    """First line of the file. BenchError when it cannot be read or the password does not fit SoupBinTCP."""
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
    """Return the logged-in, non-blocking socket, and the splitter with what arrived behind Login Accepted.

    `kind` and `service` are what should be at that address, for the errors.
    """
    where = f"{host}:{port}"
    try:
        request = soupbintcp.login_request(account, password, sequence=LIVE)
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
        _log_in(connection, splitter, where, account, kind)
        connection.setblocking(False)
    except BaseException:
        connection.close()
        raise
    return connection, splitter


def _log_in(connection: socket.socket, splitter: soupbintcp.Splitter, where: str, account: str, what: str) -> None:
    """Read until the answer. What follows it in the same piece can only be heartbeats: nothing was ordered yet."""
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
        for kind, payload in packets:
            if kind == soupbintcp.LOGIN_ACCEPTED:
                return
            if kind == soupbintcp.LOGIN_REJECTED:
                reason = REFUSALS.get(payload.decode("latin-1"), f"unknown reason {payload!r}")
                raise BenchError(f"{where} rejected the login of account {account!r}: {reason}")
            if kind not in (soupbintcp.DEBUG, soupbintcp.SERVER_HEARTBEAT):
                raise BenchError(f"{where} answered the login with packet type {chr(kind)!r}: not {what}")
