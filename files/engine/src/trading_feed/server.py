"""The server of the feed: it accepts connections, checks passwords, and sends market data to the subscribers."""

import asyncio
import functools
import logging
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from trading_engine.host.notify import notify, watchdog_interval_ns
from trading_engine.settings.passwords import Verifier
from trading_engine.wire import proxied, soupbintcp
from trading_engine.wire.layout import WireError

from trading_feed.accounts import Accounts
from trading_feed.live import Live
from trading_feed.log import Log, LogFile
from trading_feed.subscriber import Subscriber

FOLLOW_S = 0.005
"""The time between two looks at the log files while there are subscribers and messages.

Messages that were too large for the ring are read from the files. The other messages are indexed in the files.
"""
IDLE_S = 0.2
"""The time between two looks at the log files while there are no subscribers, or no new messages."""
REFRESH_S = 0.2
"""The time between two looks for new log files, a new ring and changed accounts."""
MAX_CONNECTIONS = 256
LOGIN_S = 10.0
HEARTBEAT_S = soupbintcp.HEARTBEAT_INTERVAL_NS / 1e9
SILENCE_S = soupbintcp.SILENCE_LIMIT_NS / 1e9

logger = logging.getLogger("trading-feed")


class Feed:
    """The state that all connections of the feed share: the log, the accounts, and one thread that checks passwords."""

    def __init__(self, accounts: Accounts, log: Log) -> None:
        self.log = log
        self.connections: dict[Connection, None] = {}
        # Subscribers that have received everything so far need the same new bytes. The cache makes their packets once.
        self.read = functools.lru_cache(maxsize=8)(LogFile.packets)
        self._accounts = accounts
        self._verifier = Verifier()
        self._thread = ThreadPoolExecutor(1, "passwords")
        loop = self._loop = asyncio.get_running_loop()
        config = accounts.config
        self.live = Live(loop, config.feed_ring, config.feed_bell, log, self._serve, logger.info)

    async def authorised(self, request: soupbintcp.LoginRequest) -> bool:
        """Return whether the login names an existing account and has the right password."""
        account = self._accounts.account_of(request.username)
        if account is None:
            return False
        if self._verifier.remembered(account.password_hash, request.password):
            return True
        check = functools.partial(self._verifier.check, account.password_hash, request.password)
        right = await self._loop.run_in_executor(self._thread, check)
        now = self._accounts.account_of(request.username)  # the files may have changed during the check
        return right and now is not None and now.password_hash == account.password_hash

    async def follow(self) -> None:
        """Read new messages and send them to the subscribers, until cancelled. Also check connections and accounts."""
        refreshed_s = 0.0
        turned_s = time.monotonic()
        watched = watchdog_interval_ns() > 0
        while True:
            now_s = time.monotonic()
            # If this process did not run for a while, the clients' bytes of that time are not read yet.
            if now_s - turned_s > HEARTBEAT_S:
                for connection in self.connections:
                    connection.excuse(now_s - turned_s)
            turned_s = now_s
            if now_s - refreshed_s >= REFRESH_S or self.log.is_behind:
                self.log.refresh()
                self.live.check(self._has_subscribers)
                self._accounts.follow(self._loop, self._thread, self._drop_removed)
                refreshed_s = now_s
                if watched:
                    notify("WATCHDOG=1")
            grew = self.log.extend()
            for connection in list(self.connections):
                connection.turn(now_s)
            busy = self._has_subscribers and not self.live.asleep
            await asyncio.sleep(0 if grew else FOLLOW_S if busy else IDLE_S)

    def catch_up(self) -> None:
        """Index all existing messages and start to read the ring, for a subscriber that has just logged in."""
        self.log.refresh()  # an engine may have started and created a file since the last refresh
        while self.log.extend():
            pass
        self.live.check(wanted=True)

    def _drop_removed(self) -> None:
        for connection in list(self.connections):
            if connection.is_subscriber and self._accounts.account_of(connection.username) is None:
                connection.drop(f"account {connection.username!r} is no longer there")

    @property
    def _has_subscribers(self) -> bool:
        """Whether a subscriber is logged in. Without one, the ring is not read and delays are not measured."""
        return any(connection.is_subscriber for connection in self.connections)

    def _serve(self) -> None:
        for connection in list(self.connections):
            connection.serve()

    def make_room(self) -> bool:
        """Close the oldest connection that has not tried to log in, to make room for another.

        Return whether there was one.
        """
        for connection in self.connections:
            if connection.is_stranger:
                connection.drop("it does not log in, and others wait")
                return True
        return False

    def close(self) -> None:
        self.live.stop()
        for connection in list(self.connections):
            connection.finish(soupbintcp.END_OF_SESSION_PACKET)
        self._thread.shutdown(cancel_futures=True)


class Connection(asyncio.Protocol):
    """The connection of one client to the feed.

    If the client reads slowly, nothing more is written to its socket for a while. Unsent messages need no memory,
    because they are read from the log when the client can receive them.
    """

    def __init__(self, feed: Feed, *, awaits_proxy: bool = False) -> None:
        """With `awaits_proxy`, the peer is this host's TLS proxy, which first sends its client's address."""
        self._feed = feed
        self._awaits_proxy = awaits_proxy
        self._begin = b""
        self._subscriber = Subscriber(feed.log)
        self._transport: asyncio.Transport
        self._peer = ""
        self._paused = False
        self._login: asyncio.Task[None] | None = None
        self._begun_s = self._sent_s = self._received_s = time.monotonic()

    @property
    def is_stranger(self) -> bool:
        """Whether the client has not tried to log in yet."""
        return self._login is None

    @property
    def is_subscriber(self) -> bool:
        """Whether the client has logged in and may receive market data."""
        return self._subscriber.admitted

    @property
    def username(self) -> str:
        request = self._subscriber.login_request
        return request.username if request else ""

    def drop(self, reason: str) -> None:
        """Log the reason and close the connection at once. Data that has not been sent yet is discarded."""
        logger.warning("%s disconnected: %s", self._peer, reason)
        self._feed.connections.pop(self, None)
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is no subclass of it
        address, port = transport.get_extra_info("peername")[:2]
        self._peer = f"{address}:{port}"
        if len(self._feed.connections) >= MAX_CONNECTIONS and not self._feed.make_room():
            logger.warning("%s refused: %d connections are open", self._peer, MAX_CONNECTIONS)
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=256 * 1024)
        self._feed.connections[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._feed.connections.pop(self, None)
        if self._login is not None:
            self._login.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def data_received(self, data: bytes) -> None:
        self._received_s = time.monotonic()
        try:
            if self._awaits_proxy:
                self._begin += data
                header = proxied.split(self._begin)
                if header is None:
                    return
                self._peer, data = header
                self._awaits_proxy, self._begin = False, b""
            self._subscriber.receive(data)
        except WireError as error:
            self.drop(str(error))
            return
        if self._subscriber.ended:
            self.finish(b"")
        elif self._subscriber.login_request is not None and self._login is None:
            self._login = asyncio.get_running_loop().create_task(self._log_in(self._subscriber.login_request))

    async def _log_in(self, request: soupbintcp.LoginRequest) -> None:
        if await self._feed.authorised(request):
            self._feed.catch_up()
            answer = self._subscriber.admit()
        else:
            answer = self._subscriber.refuse(soupbintcp.NOT_AUTHORISED)
        if self._subscriber.ended:
            logger.warning("%s: login of account %r rejected", self._peer, request.username)
            self.finish(answer)
        else:
            self._write(answer)
            self.serve()

    def excuse(self, silent_s: float) -> None:
        """Do not count this time against the client: not as silence, and not against the time limit for the login."""
        self._received_s += silent_s
        self._begun_s += silent_s

    def turn(self, now_s: float) -> None:
        """Send the messages that are due, or a heartbeat if nothing was sent for HEARTBEAT_S.

        The connection is closed if the client sent nothing for SILENCE_S, or did not try to log in within LOGIN_S.
        """
        if now_s - self._received_s > SILENCE_S:
            self.drop(f"nothing was received for {SILENCE_S:.0f} s")
            return
        if self.is_stranger and now_s - self._begun_s > LOGIN_S:
            self.drop(f"no login for {LOGIN_S:.0f} s")
            return
        if self.serve() and now_s - self._sent_s >= HEARTBEAT_S and not self._paused:
            self._write(soupbintcp.SERVER_HEARTBEAT_PACKET)

    def serve(self) -> bool:
        """Send the messages that are due, until the socket is full. Return whether the client is still a subscriber."""
        subscriber = self._subscriber
        while subscriber.admitted and not self._paused:
            data = subscriber.packets(self._feed.read)
            if subscriber.ended:
                self.finish(data)
                return False
            if not data:
                break
            self._write(data)
        return subscriber.admitted

    def finish(self, last: bytes) -> None:
        """Send these last bytes after all bytes that wait to be sent, then close the connection."""
        self._feed.connections.pop(self, None)
        self._transport.write(last)
        self._transport.close()

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        self._sent_s = time.monotonic()


async def serve(accounts: Accounts, listener: socket.socket, for_proxy: socket.socket | None, log: Log) -> None:
    """Serve subscribers until SIGTERM or SIGINT.

    Clients connect to `listener`, and this host's TLS proxy connects to `for_proxy`.
    """
    loop = asyncio.get_running_loop()
    feed = Feed(accounts, log)
    servers = [await loop.create_server(lambda: Connection(feed), sock=listener)]
    if for_proxy is not None:
        servers.append(await loop.create_server(lambda: Connection(feed, awaits_proxy=True), sock=for_proxy))
    following = loop.create_task(feed.follow())
    notify("READY=1")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, following.cancel)
    await asyncio.wait([following])
    for server in servers:
        server.close()
    feed.close()
    if not following.cancelled():
        following.result()
