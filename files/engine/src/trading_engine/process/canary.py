"""The canary: a client inside the engine that sends ten orders a second and measures the time to each answer.

So the latency is also measured while no client trades, and independently of how well clients work. The canary logs in
over the loopback interface like a client, and enters immediate-or-cancel orders that cannot trade.

A measured time begins when the order is due, by a timer of the kernel. It ends when the kernel receives the answer. So
it contains all times for which a client would wait: for other clients' orders, stalls and the journal. It does not
contain the time that the canary itself needs for the answer. If the engine is stalled when an order is due, the order
is sent late, but the measured time still begins when it was due.

While the engine refuses orders because the journal has no space, the canary enters none, because each would need more
space. An error in this module only ends the canary's session. The error is counted, and does not affect trading.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from trading_engine.host import timestamps
from trading_engine.host.sockets import family_of
from trading_engine.host.timerfd import IntervalTimer
from trading_engine.published.stats import Stats
from trading_engine.settings import passwords
from trading_engine.settings.config import CANARY_ACCOUNT, Account, EngineConfig, Limits, Symbol
from trading_engine.wire import ouch, soupbintcp

INTERVAL_NS = 100_000_000
PATIENCE_NS = 10_000_000_000
_RETRY_S = 1.0
_READ_BYTES = 4096
_ANSWERS = (ord("A"), ord("J"))  # Accepted and Rejected: every order gets one of them
_UNLIMITED = Limits(0, 0, 0, 0, 0, 0, 0, 0)


def with_account(config: EngineConfig) -> tuple[EngineConfig, str]:
    """Return a copy of the configuration with an account for the canary, and the password of that account.

    The password is random, and only this process knows it.
    """
    password = secrets.token_hex(soupbintcp.PASSWORD_BYTES // 2)
    hashed, firm = passwords.hash_password(password), config.firms.default
    mpids = config.firms.mpids[firm]
    account = Account(
        CANARY_ACCOUNT, hashed, True, "increasing", "allow", "account", firm, mpids, False, _UNLIMITED
    )  # fmt: skip
    return replace(config, accounts={**config.accounts, CANARY_ACCOUNT: account}), password


class Canary:
    """The canary, a client inside the engine that measures the latency of its own orders.

    It stays logged in as long as the engine runs, and logs in again after an error.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: tuple[str, int],
        symbol: Symbol,
        password: str,
        stats: Stats,
        has_space: Callable[[], bool],
        last_token: bytes = b"",
    ) -> None:
        """Start the canary, as a task of `loop`.

        `has_space` returns whether the engine accepts orders. The order tokens are numbers from the clock. They are
        greater than `last_token`, so that none is repeated after the clock was set back.
        """
        self._loop = loop
        self._address = reachable(address)
        self._symbol = symbol
        self._password = password
        self._stats = stats
        self._has_space = has_space
        self._waiting: deque[list[int]] = deque()
        self._last_token = max(time.time_ns() // 1000, _number_of(last_token))
        self._failing = False
        self._task = loop.create_task(self._keep_connected())

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._session()
            except Exception as error:
                self._stats.count("canary_failures", 1)
                if not self._failing:
                    self._stats.event(f"canary: {type(error).__name__}: {error}")
                self._failing = True
            self._waiting.clear()
            await asyncio.sleep(_RETRY_S)

    async def _session(self) -> None:
        """Log in and enter orders until the session ends.

        Returns when the engine ends the session. If the session ends by an exception, raises that exception.
        """
        with socket.socket(
            family_of(self._address[0]), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        ) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            timestamps.enable(sock)
            await self._loop.sock_connect(sock, self._address)
            splitter = await self._log_in(sock)
            ended = self._loop.create_future()
            timer = IntervalTimer(INTERVAL_NS)
            self._loop.add_reader(timer.descriptor, _until, ended, self._order, sock, timer, ended)
            self._loop.add_reader(sock.fileno(), _until, ended, self._answered, sock, splitter, ended)
            try:
                await ended
            finally:
                self._loop.remove_reader(timer.descriptor)
                self._loop.remove_reader(sock.fileno())
                timer.close()

    async def _log_in(self, sock: socket.socket) -> soupbintcp.Splitter:
        await self._loop.sock_sendall(sock, soupbintcp.login_request(CANARY_ACCOUNT, self._password, sequence=0))
        splitter = soupbintcp.Splitter()
        while True:
            async with asyncio.timeout(PATIENCE_NS / 1e9):
                data = await self._loop.sock_recv(sock, _READ_BYTES)
            if not data:
                raise ConnectionError("login refused")
            for kind, _payload in splitter.feed(data):
                if kind == soupbintcp.LOGIN_ACCEPTED:
                    return splitter

    def _order(self, sock: socket.socket, timer: IntervalTimer, ended: asyncio.Future[None]) -> None:
        """Send an order when the timer has expired. If the timer has expired several times meanwhile, send only one.

        Raises TimeoutError if an order was not answered within PATIENCE_NS.
        """
        due_ns = timer.expirations()
        if not due_ns:
            return
        if self._has_space():
            self._waiting.append(due_ns)
            self._last_token += 1
            symbol, token = self._symbol, f"{self._last_token:014x}"
            order = ouch.EnterOrder(token, "B", symbol.lot_shares, symbol.name, symbol.tick_e4 or 1, ouch.TIF_IOC)
            sock.send(soupbintcp.unsequenced(ouch.INBOUND.encode(order)))
        else:
            sock.send(soupbintcp.CLIENT_HEARTBEAT_PACKET)  # heartbeats are not written to the journal
        if self._waiting and due_ns[-1] - self._waiting[0][0] > PATIENCE_NS:
            for waiting_ns in self._waiting:
                self._record(waiting_ns, due_ns[-1])
            raise TimeoutError(f"no answer for {PATIENCE_NS / 1e9:.0f} s")

    def _answered(self, sock: socket.socket, splitter: soupbintcp.Splitter, ended: asyncio.Future[None]) -> None:
        try:
            data, ancillary, _, _ = sock.recvmsg(_READ_BYTES, timestamps.ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            raise ConnectionError("connection closed")
        answered_ns = time.monotonic_ns()
        # The time of receipt may be missing, for example just after the first socket of the host has requested it.
        if ancillary:
            answered_ns += timestamps.received_ns(ancillary) - time.time_ns()
        for kind, payload in splitter.feed(data):
            if kind == soupbintcp.SEQUENCED and payload[0] in _ANSWERS and self._waiting:
                self._record(self._waiting.popleft(), answered_ns)
                self._stats.count("canary_round_trips", 1)
                self._failing = False
            elif kind == soupbintcp.END_OF_SESSION:
                ended.set_result(None)
                return

    def _record(self, due_ns: list[int], answered_ns: int) -> None:
        for moment_ns in due_ns:
            self._stats.canary.record(answered_ns - moment_ns)


def _number_of(token: bytes) -> int:
    """Return the number in an order token of the canary, or 0 for a token that another client has made.

    Another client may have used the account before.
    """
    try:
        return int(token or b"0", 16)
    except ValueError:
        return 0


def _until(ended: asyncio.Future[None], step: Callable[..., None], *arguments: object) -> None:
    """Call `step`, unless the future `ended` is done. If `step` raises an exception, store the exception in `ended`."""
    if not ended.done():
        try:
            step(*arguments)
        except Exception as error:
            ended.set_exception(error)


def reachable(address: tuple[str, int]) -> tuple[str, int]:
    """Return the address and port at which a process of this host can connect to the engine.

    If the engine listens on all addresses, the address is the loopback address. Otherwise it is the engine's address.
    """
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0]), address[1]  # noqa: S104
