"""The canary: a client of the engine's own that sends ten orders a second and measures the time to the answer.

So the promise is also measured while nobody trades, by a client that cannot be at fault itself. The canary logs in
over the loopback like every client and enters immediate or cancel orders that cannot trade. A round trip runs from the
order's due time, by a timer of the kernel, to the kernel's time of receipt for the answer. It contains everything that
a client waits for (other clients' orders, a stall, the journal) and nothing of the canary's own side of the loop. If
the engine stands still when an order is due, the round trip still counts from then, as it would for a client.

While the engine refuses orders for lack of journal space, the canary enters none: each would use up more of it. An
error in this module ends the canary's session and is counted; it never stops trading.
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
    """Return the configuration with the canary's account, and its password, which only this process ever knows."""
    password = secrets.token_hex(soupbintcp.PASSWORD_BYTES // 2)
    hashed, firm = passwords.hash_password(password), config.firms.default
    mpids = config.firms.mpids[firm]
    account = Account(
        CANARY_ACCOUNT, hashed, True, "increasing", "allow", "account", firm, mpids, False, _UNLIMITED
    )  # fmt: skip
    return replace(config, accounts={**config.accounts, CANARY_ACCOUNT: account}), password


class Canary:
    """The canary's client. It keeps one session open for as long as the engine runs."""

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
        """Start after `last_token` of the account: a clock that was set back must not repeat tokens."""
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
        """Enter orders until the session ends. Raises the exception that ended it, unless the day ended."""
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
        """Send one order for all orders that became due since the last one; give up a session that does not answer."""
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
            sock.send(soupbintcp.CLIENT_HEARTBEAT_PACKET)  # the journal records no heartbeats
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
        if ancillary:  # the kernel may leave it out, for example just after the first socket has asked for it
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
    """Return the number of a canary's token, or 0 for any other token: the account may have had another use before."""
    try:
        return int(token or b"0", 16)
    except ValueError:
        return 0


def _until(ended: asyncio.Future[None], step: Callable[..., None], *arguments: object) -> None:
    """Run a step of the session unless the session has ended. An exception in the step ends the session."""
    if not ended.done():
        try:
            step(*arguments)
        except Exception as error:
            ended.set_exception(error)


def reachable(address: tuple[str, int]) -> tuple[str, int]:
    """Return the loopback address if the engine listens on every address, else the address itself."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0]), address[1]  # noqa: S104
