"""The login of clients, with a limit on failed logins.

Passwords are checked in a thread of their own, because one check takes as long as thousands of orders.
"""

from __future__ import annotations

import contextlib
import os
import time
from asyncio import AbstractEventLoop, Future
from collections import Counter, OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Protocol

from trading_engine.clients.connection import Connection
from trading_engine.clients.session import first_number
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.published.stats import Stats
from trading_engine.settings.config import Account
from trading_engine.settings.passwords import Verifier
from trading_engine.wire import soupbintcp
from trading_engine.wire.layout import WireError

_FAILURES = 10
_WINDOW_NS = 60_000_000_000
_ADDRESSES = 1024
_SECOND_NS: Final = 1_000_000_000
_RETRY_S = 0.001
_REFUSALS_A_TURN = 16
_monotonic_ns: Final = time.monotonic_ns


class Throttle:
    """The limit on failed logins. After ten in a minute, an address cannot log in until the minute is over."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def left(self, address: str, now_ns: int) -> int:
        """Return how many more logins from the address may fail before the address has to wait.

        `now_ns` is monotonic time.
        """
        since_ns, failures = self._failures.get(address, (now_ns, 0))
        return _FAILURES - failures if now_ns - since_ns <= _WINDOW_NS else _FAILURES

    def failed(self, address: str, now_ns: int) -> None:
        """Count a failed login of the address."""
        since_ns, failures = self._failures.pop(address, (now_ns, 0))
        if now_ns - since_ns > _WINDOW_NS:
            since_ns, failures = now_ns, 0
        self._failures[address] = (since_ns, failures + 1)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)


class PasswordChecks:
    """The thread of low priority that checks passwords. It remembers the passwords that were right before."""

    def __init__(self) -> None:
        self.verifier = Verifier()
        self.threads = ThreadPoolExecutor(1, "password", initializer=_be_nice)

    def stop(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


class Sessions(Protocol):
    """The methods of the class Gateway that the class Login needs."""

    connections: dict[int, Connection]

    def readable(self, connection: Connection) -> None:
        """Read once from a socket with new bytes, and let the engine process them."""

    def process(self, connection: Connection, data: bytes, now_ns: int) -> int:
        """Let the engine process bytes of a logged-in session. Return how many OUCH messages it has processed."""

    def logged_in(self, connection: Connection, number: int) -> None:
        """Register the connection as the connection of the account with this number."""

    def send(self, connection: Connection, data: bytes) -> None:
        """Send bytes to the client, or queue them until the client reads again."""

    def catch_up(self, connection: Connection) -> None:
        """Send older messages from the account's log to the client."""

    def drop(self, connection: Connection) -> None:
        """Close the connection."""


class Login:
    """The login of connections. It reads a connection's bytes until the login has succeeded; then `gateway` reads them.

    The number of simultaneous password checks for one address is limited: it is at most the number of logins that may
    still fail. Further logins from the address wait. While they wait, their connections may be closed to make room for
    others.
    """

    def __init__(self, gateway: Sessions, engine: Engine, stats: Stats, loop: AbstractEventLoop) -> None:
        self._gateway = gateway
        self._engine = engine
        self._stats = stats
        self._loop = loop
        self._throttle = Throttle()
        self._under_way: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[Connection, soupbintcp.LoginRequest]]] = {}
        self.checks = PasswordChecks()

    def read(self, connection: Connection, data: bytes) -> None:
        """Process bytes of a connection that is not logged in yet."""
        try:
            if connection.awaits_proxy:
                if not connection.session.proxy_header(data):
                    return
                data = b""
                connection.address, connection.awaits_proxy = connection.session.client_address, False
            request = connection.session.login_request(data)
        except WireError as error:
            self._drop_malformed(connection, str(error))
            return
        if request is None:
            return
        self._admit(connection, request)

    def _admit(self, connection: Connection, request: soupbintcp.LoginRequest) -> None:
        address = connection.address
        left = self._throttle.left(address, _monotonic_ns())
        if left <= 0:
            self._stats.logins_throttled += 1
            self._refuse(connection, soupbintcp.NOT_AUTHORISED)
            return
        account = self._engine.config.account_of(request.username)
        hashed = account.password_hash if account else ""
        if account is not None and self.checks.verifier.remembered(hashed, request.password):
            self._log_in(connection, account, request)
            return
        if self._under_way[address] >= left:
            connection.waiting = True
            self._loop.remove_reader(connection.descriptor)
            self._waiting.setdefault(address, deque()).append((connection, request))
            return
        self._under_way[address] += 1
        self._stop_reading(connection)
        check = self._loop.run_in_executor(
            self.checks.threads, self.checks.verifier.check, hashed, request.password
        )  # fmt: skip
        check.add_done_callback(partial(self._checked, connection, account, request))

    def _checked(
        self,
        connection: Connection,
        account: Account | None,
        request: soupbintcp.LoginRequest,
        check: Future[bool],
    ) -> None:
        address = connection.address
        self._under_way[address] -= 1
        if not self._under_way[address]:
            del self._under_way[address]
        if check.cancelled():
            return
        if self._read_on(connection):
            self._decide(connection, account, request, check)
        self._admit_waiting(address)

    def _admit_waiting(self, address: str) -> None:
        """Continue with logins of this address that waited until another login was checked.

        In one turn of the event loop at most _REFUSALS_A_TURN logins are continued, because to refuse a login takes
        time.
        """
        waiting = self._waiting.get(address)
        if waiting is None:
            return
        for _ in range(min(len(waiting), _REFUSALS_A_TURN)):
            if 0 < self._throttle.left(address, _monotonic_ns()) <= self._under_way[address]:
                return
            connection, request = waiting.popleft()
            if connection.closed:
                continue
            connection.waiting = False
            self._loop.add_reader(connection.descriptor, self._gateway.readable, connection)
            self._admit(connection, request)
        if waiting:
            self._loop.call_soon(self._admit_waiting, address)
        else:
            self._waiting.pop(address, None)

    def _decide(
        self,
        connection: Connection,
        account: Account | None,
        request: soupbintcp.LoginRequest,
        check: Future[bool],
    ) -> None:
        error = check.exception()
        if error is not None:
            self._stats.event(f"login of {request.username!r} cannot be checked: {type(error).__name__}")
            self._reject(connection, soupbintcp.NOT_AUTHORISED)
            return
        if account is None or not check.result():
            self._throttle.failed(connection.address, _monotonic_ns())
            self._stats.event(f"login of {request.username!r} from {connection.address} rejected")
            self._reject(connection, soupbintcp.NOT_AUTHORISED)
            return
        self._log_in(connection, account, request)

    def _stop_reading(self, connection: Connection) -> None:
        connection.checking = True
        self._loop.remove_reader(connection.descriptor)

    def _read_on(self, connection: Connection) -> bool:
        """Read from the connection again. It was not read while the login waited.

        Return False if the connection is closed or the engine has failed.
        """
        connection.checking = False
        if connection.closed or self._engine.failure:
            return False
        self._loop.add_reader(connection.descriptor, self._gateway.readable, connection)
        return True

    def _log_in_later(self, connection: Connection, account: Account, request: soupbintcp.LoginRequest) -> None:
        if self._read_on(connection):
            self._log_in(connection, account, request)

    def _log_in(self, connection: Connection, account: Account, request: soupbintcp.LoginRequest) -> None:
        engine = self._engine
        now = engine.config.accounts.get(account.name)
        # The account may have been changed or removed while the password was checked.
        if now is None or now.password_hash != account.password_hash:
            self._reject(connection, soupbintcp.NOT_AUTHORISED)
            return
        number = engine.core.accounts[account.name].number
        other = self._gateway.connections.get(number)
        if other is not None:
            if engine.config.second_login == "refuse":
                self._reject(connection, soupbintcp.SESSION_NOT_AVAILABLE)
                return
            self._stats.event(f"{account.name} logged in again from {connection.address}, which took over")
            self._gateway.drop(other)
        # Orders of an earlier connection are still being cancelled. Until that is finished, new orders would be
        # cancelled too. So the login waits.
        if engine.cancellations.under_way(number):
            self._loop.call_later(_RETRY_S, self._log_in_later, connection, account, request)
            self._stop_reading(connection)
            return
        log = engine.outbox.log(number)
        first = first_number(request, engine.core.day, log.first, log.last)
        if first is None:
            self._reject(connection, soupbintcp.SESSION_NOT_AVAILABLE)
            return
        engine.submit(inputs.CONNECT, number)
        self._stats.logins_accepted += 1
        connection.account_name = account.name
        connection.session.account = number
        if request.timeout_s:
            connection.session.silence_limit_ns = request.timeout_s * _SECOND_NS
        connection.next_number = first
        connection.catching_up = first <= log.last
        self._gateway.logged_in(connection, number)
        self._gateway.send(connection, soupbintcp.login_accepted(engine.core.day, first))
        self._gateway.catch_up(connection)
        rest = connection.session.rest
        if rest and not connection.closed:
            self._gateway.process(connection, rest, _monotonic_ns())

    def _reject(self, connection: Connection, reason: str) -> None:
        self._stats.logins_rejected += 1
        self._refuse(connection, reason)

    def _refuse(self, connection: Connection, reason: str) -> None:
        self._gateway.send(connection, soupbintcp.login_rejected(reason))
        self._gateway.drop(connection)

    def _drop_malformed(self, connection: Connection, reason: str) -> None:
        self._stats.dropped_malformed_input += 1
        self._stats.event(f"{connection.address} dropped before its login: {reason}")
        self._gateway.drop(connection)


def _be_nice() -> None:
    with contextlib.suppress(OSError):  # a system-call filter of systemd or of a container may forbid it
        os.setpriority(os.PRIO_PROCESS, 0, 15)  # 0 is the calling thread on Linux
