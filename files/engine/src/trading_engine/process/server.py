"""The engine's process: event loop, signals, timers, garbage collection, and publication of the state."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from trading_engine import __version__
from trading_engine.clients.gateway import Gateway
from trading_engine.engine import Engine, StartError
from trading_engine.host.notify import notify, watchdog_interval_ns
from trading_engine.machine.version import is_compiled
from trading_engine.process import admin
from trading_engine.process.admin import Admin
from trading_engine.process.canary import Canary, with_account
from trading_engine.process.memory import lock_memory
from trading_engine.process.people import PEOPLE_VARIABLE
from trading_engine.published.catalogue import STALL_NS
from trading_engine.published.garbage import Garbage
from trading_engine.published.ring import RingWriter
from trading_engine.published.shm import StateWriter
from trading_engine.published.stats import Stats, TopSymbols
from trading_engine.settings.config import CANARY_ACCOUNT, Endpoint, EngineConfig
from trading_engine.storage.growth import Growth
from trading_engine.storage.snapshotter import Snapshotter
from trading_engine.wire.proxied import LISTENER_ADDRESS

TICK_S = 0.05
_PATIENCE_US = 120_000_000
"""At each report of progress, a start asks systemd for this much more time, because one large file may take so long."""
_TICKS_A_SECOND = 20


def run(config: EngineConfig) -> int:
    """Run the engine until SIGTERM or SIGINT, then return 0. Raises StartError when the engine cannot start."""
    loop: asyncio.AbstractEventLoop = (
        uvloop.new_event_loop() if config.event_loop == "uvloop" else asyncio.new_event_loop()
    )
    try:
        return Server(config, loop).run()
    finally:
        loop.close()


class Server:
    """The engine, its gateway, its administration and its timers, on one event loop."""

    def __init__(self, config: EngineConfig, loop: asyncio.AbstractEventLoop) -> None:
        if config.canary_symbol:
            config, self._canary_password = with_account(config)
        self._config = config
        self._loop = loop
        self._engine = Engine(config, loop)
        self._snapshotter = Snapshotter(config.journal.directory, config.journal.budget_bytes)
        self._top_symbols = TopSymbols()
        self._ticks = 0
        self._tick_due_ns = 0
        self._watchdog_ns = watchdog_interval_ns()
        self._watchdog_due_ns = 0
        self._growth = Growth()
        self._admin_servers: dict[Path, asyncio.AbstractServer] = {}

    def run(self) -> int:
        """Start the engine, run it until SIGTERM or SIGINT, and stop it. Return 0.

        Raises StartError when the engine cannot start.
        """
        config, loop = self._config, self._loop
        self._engine.lock()
        try:
            config.shared_memory.parent.mkdir(parents=True, exist_ok=True)
            state = StateWriter(config.shared_memory, __version__, config.journal.durability)
            self._engine.ring = RingWriter(config.feed_ring, config.feed_bell)
        except OSError as error:
            raise StartError(
                f"{config.shared_memory}: {error.strerror}; the engine's user needs to write there, see [shared_memory]"
            ) from error
        self._stats = stats = Stats(state)
        self._garbage = Garbage(stats)
        self._gateway = gateway = Gateway(self._engine, stats, self._garbage, loop)
        try:
            gateway.listen()
        except OSError as error:
            endpoint = config.order_entry
            raise StartError(
                f"cannot listen on {endpoint.address} port {endpoint.port}{_proxied(endpoint)}: {error.strerror}; "
                "another program may use it (`ss -ltnp` shows which), or choose another in [order_entry]"
            ) from error
        self._engine.journal_times = state.histograms["journal"]
        self._engine.feed_times = state.histograms["feed"]
        self._engine.on_stall = stats.stall
        self._engine.on_progress = _say_progress
        loop.set_exception_handler(self._unexpected)
        recovered = self._engine.start()
        stats.leave_out_replayed(self._engine.core)
        stats.set("recovery_ns", recovered.duration_ns)
        stats.set("recovered_records", recovered.replayed)
        for remark in recovered.remarks:
            stats.event(f"recovery: {remark}")
            print(f"trading-engine: recovery: {remark}", file=sys.stderr)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, loop.stop)
        self._garbage.start()
        self._serve_admin(Admin(self._engine, self._roll_day, gateway.end_session))
        stats.set("memory_locked", int(lock_memory()))
        stats.set("compiled", int(is_compiled()))
        if config.busy_poll:
            self._spin()
        if self._engine.failure:  # for example the first sync of the journal has failed in its thread
            raise StartError(self._engine.failure)
        gateway.open()
        self._engine.cancellations.resume()
        loop.call_later(config.reconnect_grace_s, gateway.disconnect_absent)
        stats.event(f"started with {recovered.replayed} records replayed")
        self._tick()
        canary = self._start_canary() if config.canary_symbol else None
        status = f"session {self._engine.core.day}, {recovered.replayed} records replayed"
        # READY is sent when the loop runs, because uvloop loses a signal that arrives before that.
        loop.call_soon(notify, f"READY=1\nSTATUS={status}")
        loop.run_forever()
        notify("STOPPING=1")
        if canary is not None:
            loop.run_until_complete(canary.stop())
        for path, server in self._admin_servers.items():
            server.close()
            path.unlink(missing_ok=True)
        gateway.close()
        self._snapshotter.stop()
        try:
            self._engine.stop()
        except OSError as error:
            raise StartError(f"stopping: {error}") from error
        self._publish()
        state.close()
        return 0

    def _serve_admin(self, commands: Admin) -> None:
        """Listen on the administration socket for root and the engine's user, and, if configured, on that for people.

        Raises StartError if the first socket cannot be used. An error of the socket for people is only reported,
        because root can still administer the engine.
        """
        paths = {self._config.admin_socket: "[admin]"}
        if for_people := os.environ.get(PEOPLE_VARIABLE):
            paths[Path(for_people)] = PEOPLE_VARIABLE
        for path, named_by in paths.items():
            try:
                self._admin_servers[path] = admin.serve(commands, path, self._loop, named_by == PEOPLE_VARIABLE)
            except OSError as error:
                text = f"{path}: {error.strerror}; the engine's user needs to write there, see {named_by}"
                if named_by != PEOPLE_VARIABLE:
                    raise StartError(text) from error
                text = f"people are not served, only root with --config: {text}"
                self._stats.event(text)
                print(f"trading-engine: {text}", file=sys.stderr, flush=True)

    def _start_canary(self) -> Canary:
        config, endpoint, core = self._config, self._config.order_entry, self._engine.core
        self._gateway.canary = core.accounts[CANARY_ACCOUNT].number
        address = (endpoint.address, endpoint.port)
        password, last_token = self._canary_password, core.accounts[CANARY_ACCOUNT].last_token
        (symbol,) = (symbol for symbol in config.symbols if symbol.name == config.canary_symbol)
        return Canary(self._loop, address, symbol, password, self._stats, lambda: core.accepting, last_token)

    def _spin(self) -> None:
        """Do nothing, and schedule this method again in each turn, so that the event loop never sleeps (busy polling).

        A process that sleeps must be woken up for new input, which takes time.
        """
        self._loop.call_soon(self._spin)

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Set the state FAILED after an unexpected exception.

        The core may be wrong then, so nothing more may be sent.
        """
        error = context.get("exception")
        self._engine.fail(f"internal error: {error!r}" if error else f"internal error: {context.get('message')}")
        loop.default_exception_handler(context)

    # -- timers -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        begun_ns = time.monotonic_ns()
        self._loop.call_later(TICK_S, self._tick)
        stats = self._stats
        if self._ticks:
            lag_ns = max(0, begun_ns - self._tick_due_ns)
            stats.set("loop_lag_last_ns", lag_ns)
            stats.raise_to("loop_lag_max_ns", lag_ns)
        self._tick_due_ns = begun_ns + int(TICK_S * 1e9)
        self._ticks += 1
        if self._ticks % 2 == 0:
            self._garbage.collect()
            self._timed("publish", self._publish)
        self._timed("timers", self._check_timers)
        if self._ticks % _TICKS_A_SECOND == 1:
            self._timed("snapshot", self._watch_disk)
            self._watch_clock()
            self._garbage.begin_second()
        if self._watchdog_ns and begun_ns >= self._watchdog_due_ns:
            self._watchdog_due_ns = begun_ns + self._watchdog_ns // 2
            notify("WATCHDOG=1")

    def _timed(self, cause: str, step: Callable[[], None]) -> None:
        begun_ns = time.monotonic_ns()
        step()
        lasted_ns = time.monotonic_ns() - begun_ns
        if lasted_ns > STALL_NS:
            self._stats.stall(cause, lasted_ns)

    def _check_timers(self) -> None:
        engine = self._engine
        engine.tick()
        if self._config.daily and engine.clock.is_over(engine.core.day):
            self._roll_day()
        self._gateway.check_timers(TICK_S * 4)

    def _roll_day(self) -> None:
        """Begin to close the day. When all orders are cancelled, every session ends and the next day starts.

        Nothing is done if the day is being closed already, or if the engine has failed.
        """
        engine = self._engine
        if not engine.failure and not engine.core.closing:
            engine.cancellations.close_day(self._begin_next_day)

    def _begin_next_day(self) -> None:
        engine = self._engine
        engine.end_day()
        self._gateway.end_sessions()
        engine.start_day(engine.clock.next_session(engine.core.day))
        self._stats.event(f"session {engine.core.day} began")

    def _watch_clock(self) -> None:
        clock = self._engine.clock
        deviation_ns = clock.deviation_ns()
        self._stats.set("clock_deviation_ns", deviation_ns)
        if step_ns := clock.noticed_step(deviation_ns):
            text = (
                f"the wall clock was stepped by {step_ns / 1e9:+.3f} s: times of session {self._engine.core.day} are "
                f"{abs(deviation_ns) / 1e9:.3f} s {'ahead of' if deviation_ns > 0 else 'behind'} it until the next one"
            )
            self._stats.event(text)
            print(f"trading-engine: {text}", file=sys.stderr, flush=True)

    def _watch_disk(self) -> None:
        stats, engine = self._stats, self._engine
        left_bytes = engine.watch_disk()
        if engine.writer is None:
            stats.set("journal_seconds_left", -1)
            return
        for text in self._snapshotter.tick(engine.writer.sealed, engine.used_bytes):
            stats.event(text)
        self._growth.see(time.monotonic_ns(), engine.writer.bytes_written)
        stats.set("journal_seconds_left", self._growth.seconds_left(left_bytes))
        stats.set("journal_budget_bytes", self._config.journal.budget_bytes)
        try:
            stats.set("journal_disk_free_bytes", engine.disk_left_bytes()[1])
        except OSError as error:
            engine.fail(f"journal directory: {error}")

    def _publish(self) -> None:
        stats, engine, gateway = self._stats, self._engine, self._gateway
        stats.take_core(engine.core)
        stats.take("stats", stats)
        stats.take("engine", engine)
        stats.take("snapshotter", self._snapshotter)
        if engine.writer is not None:
            stats.take("writer", engine.writer)
        accounts = self._engine.config.accounts
        logged_in = [accounts[connection.account_name].test for connection in gateway.clients()]
        stats.set("sessions_open", len(logged_in))
        stats.set("test_sessions_open", sum(logged_in))
        stats.set("queued_bytes", sum(connection.queued_bytes for connection in gateway.connections.values()))
        stats.set("engine_time_ns", engine.clock.now())
        stats.writer.failure = engine.failure
        stats.writer.publish(
            self._top_symbols.publish(engine.core.by_locate),
            gateway.sessions(time.time_ns() - time.monotonic_ns()),
            list(stats.events),
        )


def _proxied(endpoint: Endpoint) -> str:
    return f" or on {LISTENER_ADDRESS} port {endpoint.proxy_port}" if endpoint.proxy_port else ""


def _say_progress(records: int) -> None:
    notify(f"EXTEND_TIMEOUT_USEC={_PATIENCE_US}\nSTATUS=recovery: {records} records replayed")
