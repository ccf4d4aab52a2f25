"""The cancellation of many orders, in portions of 64 orders.

One portion is cancelled in each turn of the event loop, so that clients are served in between. Every portion is an
input of its own in the journal, so a replay cancels the same orders at the same times. After a crash, `resume` finds
the accounts whose cancellation was not finished, and continues it.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from trading_engine.host.clock import Clock
from trading_engine.machine import inputs
from trading_engine.machine.core import Core
from trading_engine.machine.encode import BY_DAYS_END, BY_SUPERVISOR

_ORDERS_A_SLICE: Final = 64


class Machine(Protocol):
    """The part of the engine that `Cancellations` needs."""

    core: Core
    clock: Clock
    failure: str

    def submit(self, kind: int, account: int = 0, payload: bytes = b"") -> None:
        """Let the engine process an input."""


class Cancellations:
    """All cancellations of many orders that are not finished.

    An account whose orders are being cancelled cannot enter new orders. One of three things prevents that: its kill
    switch is on, it is not logged in, or the day is closed.
    """

    def __init__(self, engine: Machine, loop: AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._jobs: deque[Iterator[None]] = deque()
        self._accounts: list[int] = []
        self._expiring = False

    def of_account(self, number: int) -> None:
        """Begin to cancel all open orders of the account."""
        self._accounts.append(number)
        self._begin(self._cancel(number, BY_SUPERVISOR))

    def under_way(self, number: int) -> bool:
        """Return whether orders of the account are still being cancelled."""
        return number in self._accounts

    def resume(self) -> None:
        """Continue the cancellations that were not finished when the engine ended. Call this once after the start."""
        for account in self._engine.core.by_number:
            if account.open_orders and (account.killed or account.leaving):
                self.of_account(account.number)

    def expire(self) -> None:
        """Begin to cancel the orders whose time in force has ended."""
        if not self._expiring and self._is_due():
            self._expiring = True
            self._begin(self._expire())

    def close_day(self, done: Callable[[], None]) -> None:
        """Refuse new orders, begin to cancel all open orders, and call `done` after the last cancellation."""
        self._engine.submit(inputs.CLOSE_DAY)
        self._begin(self._close_day(done))

    def _begin(self, job: Iterator[None]) -> None:
        self._jobs.append(job)
        if len(self._jobs) == 1:
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if self._engine.failure:
            self._jobs.clear()
        elif next(self._jobs[0], self) is self:
            self._jobs.popleft()
        if self._jobs:
            self._loop.call_soon(self._turn)

    def _cancel(self, number: int, reason: bytes) -> Iterator[None]:
        account = self._engine.core.by_number[number]
        shard = 0
        while shard < account.shard_count():
            tokens = account.live_tokens(shard, _ORDERS_A_SLICE)
            if tokens:
                self._engine.submit(inputs.CANCEL_ORDERS, number, reason + b"".join(tokens))
            else:
                shard += 1
            yield
        if reason == BY_SUPERVISOR:
            self._accounts.remove(number)

    def _expire(self) -> Iterator[None]:
        while self._is_due():
            self._engine.submit(inputs.EXPIRE)
            yield
        self._expiring = False

    def _is_due(self) -> bool:
        return self._engine.core.expiries.is_due(self._engine.clock.now())

    def _close_day(self, done: Callable[[], None]) -> Iterator[None]:
        for account in self._engine.core.by_number:
            if account.open_orders:
                yield from self._cancel(account.number, BY_DAYS_END)
        done()
