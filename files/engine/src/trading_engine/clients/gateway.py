"""The gateway: it accepts clients' connections, passes their bytes to the engine, and sends the replies.

In one turn of the event loop each socket with new bytes is read once, up to READ_BYTES. So all clients are served
equally. Further bytes wait in the kernel until the next turn. All answers to one read are sent by one write.
"""

from __future__ import annotations

import socket
import time
from asyncio import AbstractEventLoop
from collections import deque
from typing import Final

from trading_engine.clients.connection import Connection
from trading_engine.clients.login import Login
from trading_engine.engine import Engine
from trading_engine.host import timestamps
from trading_engine.host.descriptors import for_sockets
from trading_engine.host.sockets import family_of
from trading_engine.published.catalogue import STALL_NS
from trading_engine.published.garbage import Garbage
from trading_engine.published.shm import SessionState
from trading_engine.published.stats import Stats
from trading_engine.storage.outbox import Output
from trading_engine.wire import soupbintcp
from trading_engine.wire.proxied import LISTENER_ADDRESS

READ_BYTES = 4096
CATCH_UP_BYTES = 1 << 16
SEND_BUFFER_BYTES = 1 << 18  # the size of the kernel's buffer for a client, in addition to slow_client_bytes
MAX_STRANGERS: Final = 256  # connections that have not logged in
_ACCEPTS_A_TURN = 16
_ACCEPT_PAUSE_S = 0.1
_ANCILLARY_BYTES: Final = timestamps.ANCILLARY_BYTES
_monotonic_ns: Final = time.monotonic_ns
_wall_ns: Final = time.time_ns


class Listener:
    """A listening socket.

    With `is_proxy`, this host's TLS proxy connects to the socket on behalf of clients. Otherwise clients connect to it
    themselves.
    """

    def __init__(self, sock: socket.socket, *, is_proxy: bool) -> None:
        self.socket = sock
        self.is_proxy = is_proxy


def listening(address: str, port: int) -> socket.socket:
    """Return a new non-blocking socket that listens on this address and port.

    Raises OSError, for example when the port is in use.
    """
    listener = socket.socket(family_of(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.bind((address, port))
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    return listener


class Gateway:
    """The listening sockets and all connections. `connections` maps account numbers to connections that are logged in.

    `canary` is the account number of the canary, a client inside the engine for measurements, or -1. The figures about
    clients do not count its orders and its session.
    """

    def __init__(self, engine: Engine, stats: Stats, garbage: Garbage, loop: AbstractEventLoop) -> None:
        self._engine = engine
        self._stats = stats
        self._garbage = garbage
        self._loop = loop
        self._config = engine.config
        self._everybody: deque[Connection] = deque()
        self._strangers: dict[Connection, None] = {}
        self._out_of_descriptors = False
        self._crowded = False
        self._listeners: list[Listener] = []
        self.connections: dict[int, Connection] = {}
        self.canary = -1
        self._login = Login(self, engine, stats, loop)
        engine.deliver = self._deliver
        engine.on_failure = self._on_failure

    # -- the listening sockets --------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Open the listening sockets. Raises OSError, for example when a port is in use."""
        endpoint = self._config.order_entry
        self._listeners.append(Listener(listening(endpoint.address, endpoint.port), is_proxy=False))
        if endpoint.proxy_port:
            self._listeners.append(Listener(listening(LISTENER_ADDRESS, endpoint.proxy_port), is_proxy=True))

    def open(self) -> None:
        """Begin to accept connections of clients on the listening sockets."""
        for listener in self._listeners:
            self._loop.add_reader(listener.socket.fileno(), self._accept, listener)

    def close(self) -> None:
        """Stop listening, send the end of the session to every client, and close all connections."""
        self._stop_listening()
        for connection in list(self._everybody):
            if connection.session.account >= 0 and not self._engine.failure:
                self.send(connection, soupbintcp.END_OF_SESSION_PACKET)
            self.drop(connection)
        self._login.checks.stop()

    def end_sessions(self) -> None:
        """Send the end of the session to each logged-in client and disconnect it, because the day is over."""
        for number in list(self.connections):
            self.end_session(number)

    def disconnect_absent(self) -> None:
        """Report accounts to the engine as disconnected if their clients have not come back since its start.

        Only accounts that were logged in before the start are reported. Call this some time after the start, so that
        clients have time to connect again.
        """
        for account in self._engine.core.by_number:
            if account.connected and account.number not in self.connections and not self._engine.failure:
                self._engine.disconnect(account.number)

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener.socket.fileno())
            listener.socket.close()
        self._listeners.clear()

    def _on_failure(self, reason: str) -> None:
        self._stats.event(f"FAILED: {reason}")
        self._stop_listening()
        for connection in list(self._everybody):
            self.drop(connection)

    def _accept(self, listener: Listener) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, address = listener.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # the client has already closed the connection
            except OSError as error:
                self._pause_accepting(listener, error)
                return
            self._out_of_descriptors = False
            if not self._has_room():
                sock.close()
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            timestamps.enable(sock)
            self._stats.connections_accepted += 1
            connection = Connection(
                self._loop, sock, address[0], _monotonic_ns(), self._config.slow_client_bytes
            )  # fmt: skip
            connection.awaits_proxy = listener.is_proxy
            connection.on_drained = self.catch_up
            self._everybody.append(connection)
            self._strangers[connection] = None
            self._loop.add_reader(connection.descriptor, self.readable, connection)

    def _pause_accepting(self, listener: Listener, error: OSError) -> None:
        """Stop accepting connections for _ACCEPT_PAUSE_S after an error such as too few file descriptors.

        Without the pause, the event loop would try to accept the same connection all the time.
        """
        if not self._out_of_descriptors:
            self._out_of_descriptors = True
            self._stats.event(f"accept: {error.strerror}")
        self._loop.remove_reader(listener.socket.fileno())
        self._loop.call_later(_ACCEPT_PAUSE_S, self._accept_again, listener)

    def _accept_again(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener.socket.fileno(), self._accept, listener)

    def _has_room(self) -> bool:
        """Return whether one more connection is allowed, so that file descriptors remain for journal and logs.

        If necessary, the oldest connection without a login is closed to make room.
        """
        if len(self._strangers) < MAX_STRANGERS and len(self._everybody) < for_sockets():
            self._crowded = False
            return True
        if not self._crowded:
            self._crowded = True
            self._stats.event(f"{len(self._everybody)} connections, of which {len(self._strangers)} have not logged in")
        for stranger in self._strangers:
            if not stranger.checking:
                self.drop(stranger)
                return True
        return False

    def logged_in(self, connection: Connection, number: int) -> None:
        """Register the connection as the connection of the account with this number."""
        self._strangers.pop(connection, None)
        self.connections[number] = connection

    # -- reading ----------------------------------------------------------------------------------------------------

    def readable(self, connection: Connection) -> None:
        """Read once from a socket with new bytes, let the engine process them, and record how long that took."""
        try:
            data, ancillary, _, _ = connection.receive(READ_BYTES, _ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        now_ns = _monotonic_ns()
        if not data:
            self.drop(connection)
            return
        stats = self._stats
        stats.reads += 1
        stats.bytes_received += len(data)
        session = connection.session
        session.received_ns = now_ns
        if session.account < 0:
            self._login.read(connection, data)
            return
        if session.account == self.canary:
            with stats.leaving_out(self._engine.core):
                self.process(connection, session.rest + data if session.rest else data, now_ns)
            return
        answered = self.process(connection, session.rest + data if session.rest else data, now_ns)
        if answered and not self._engine.failure:
            done_ns = _monotonic_ns()
            lasted_ns = done_ns - now_ns
            stats.service.record(lasted_ns, answered)
            if lasted_ns > STALL_NS and stats.stall_noted_ns < now_ns:
                stats.stall("read", lasted_ns)
            if ancillary:
                stats.receive_to_reply.record(_wall_ns() - timestamps.received_ns(ancillary), answered)
            self._garbage.after(answered)

    def process(self, connection: Connection, data: bytes, now_ns: int) -> int:
        """Let the engine process bytes of a logged-in session. Return how many OUCH messages it has processed."""
        engine = self._engine
        core = engine.core
        session = connection.session
        before = core.messages
        consumed = engine.read(session.account, data, now_ns)
        if engine.failure:
            return 0
        session.rest = data[consumed:] if consumed < len(data) else b""
        messages = core.messages - before
        connection.messages_in += messages
        reason = core.close_reason
        if reason:
            if reason != "logout":
                self._stats.dropped_malformed_input += 1
                self._stats.event(f"{connection.account_name} at {connection.address} dropped: {reason}")
            self.drop(connection)
        return messages

    # -- writing ----------------------------------------------------------------------------------------------------

    def _deliver(self, output: Output) -> None:
        stats = self._stats
        replies, market_data, market_data_count = output
        if market_data_count:
            stats.feed_messages += market_data_count
            stats.feed_bytes += len(market_data)
        for number, packets, messages in replies:
            connection = self.connections.get(number)
            if connection is None or connection.catching_up:
                continue
            stats.messages_sent += messages
            connection.messages_out += messages
            connection.next_number += messages
            self.send(connection, packets)

    def catch_up(self, connection: Connection) -> None:
        """Send older messages from the account's log, until the client has all of them or its socket is full."""
        while connection.catching_up and not connection.closed and not connection.queued_bytes:
            log = self._engine.outbox.log(connection.session.account)
            try:
                packets, messages = log.read_from(connection.next_number, CATCH_UP_BYTES)
            except OSError as error:
                self._engine.fail(f"reply log: {error}")
                return
            if not messages:
                connection.catching_up = False
                return
            connection.next_number += messages
            connection.messages_out += messages
            self._stats.messages_sent += messages
            self.send(connection, packets)

    def send(self, connection: Connection, data: bytes) -> None:
        """Send bytes to the client. Close the connection if that fails or if the client has not read for too long."""
        if connection.closed:
            return
        self._stats.bytes_sent += len(data)
        try:
            in_time = connection.send(data, _monotonic_ns())
        except OSError:
            self.drop(connection)
            return
        if not in_time:
            self._stats.dropped_slow_clients += 1
            self._stats.event(f"{connection.account_name} at {connection.address} dropped: it does not read")
            self.drop(connection)

    # -- the end of connections -------------------------------------------------------------------------------------

    def drop(self, connection: Connection) -> None:
        """Close the connection. If it is logged in, tell the engine that the account has disconnected."""
        if connection.closed:
            return
        connection.close()
        self._stats.connections_closed += 1
        self._everybody.remove(connection)
        self._strangers.pop(connection, None)
        number = connection.session.account
        if number >= 0 and self.connections.get(number) is connection:
            del self.connections[number]
            if not self._engine.failure:
                self._engine.disconnect(number)

    def check_timers(self, share: float) -> None:
        """Send heartbeats that are due, and close the connections of silent clients.

        One call checks only some connections, and the next call those after them. `share` (0 to 1) says which part of
        all connections one call checks. Call this method several times a second.
        """
        now_ns = _monotonic_ns()
        for _ in range(min(len(self._everybody), int(len(self._everybody) * share) + 8)):
            connection = self._everybody[0]
            self._everybody.rotate(-1)
            action = connection.session.timer(now_ns)
            if action == "heartbeat":
                self.send(connection, soupbintcp.SERVER_HEARTBEAT_PACKET)
            elif action and not connection.checking and not connection.waiting:
                self._stats.dropped_silent_clients += 1
                self.drop(connection)

    def end_session(self, number: int) -> None:
        """Send the end of the session to the account's client, if it is connected, and close the connection."""
        connection = self.connections.get(number)
        if connection is not None:
            self.send(connection, soupbintcp.END_OF_SESSION_PACKET)
            self.drop(connection)

    def clients(self) -> list[Connection]:
        """Return the logged-in connections, except that of the canary, the engine's own client for measurements."""
        return [connection for number, connection in self.connections.items() if number != self.canary]

    def sessions(self, wall_minus_monotonic_ns: int) -> list[SessionState]:
        """Return the client sessions in the form in which the engine publishes them.

        Times of sessions are monotonic. `wall_minus_monotonic_ns` is added to make them Unix times in nanoseconds.
        """
        states = []
        for connection in self.clients():
            session = connection.session
            states.append(
                SessionState(
                    connection.account_name,
                    self._engine.config.accounts[connection.account_name].test,
                    session.connected_ns + wall_minus_monotonic_ns,
                    session.received_ns + wall_minus_monotonic_ns,
                    connection.messages_in,
                    connection.messages_out,
                    connection.queued_bytes,
                    connection.next_number,
                    connection.address,
                )
            )
        return states
