"""Cancellation of many orders in slices: one slice in each turn of the loop, so that no client waits for all of them.

Every slice is a separate input in the journal, so a replay cancels the same orders at the same times. After a crash,
`resume` finds the unfinished cancellations in the state and goes on with them.
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
    """The part of the engine that cancellations need."""

    core: Core
    clock: Clock
    failure: str

    def submit(self, kind: int, account: int = 0, payload: bytes = b"") -> None:
        """Process one input."""


class Cancellations:
    """The cancellations under way.

    An account whose orders are being cancelled cannot enter new ones: it is killed or logged out, or the day closes.
    """

    def __init__(self, engine: Machine, loop: AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._jobs: deque[Iterator[None]] = deque()
        self._accounts: list[int] = []
        self._expiring = False

    def of_account(self, number: int) -> None:
        """Cancel all open orders of the account."""
        self._accounts.append(number)
        self._begin(self._cancel(number, BY_SUPERVISOR))

    def under_way(self, number: int) -> bool:
        """Return whether orders of the account are still being cancelled."""
        return number in self._accounts

    def resume(self) -> None:
        """Continue the cancellations that were under way when the engine ended. Call once after the start."""
        for account in self._engine.core.by_number:
            if account.open_orders and (account.killed or account.leaving):
                self.of_account(account.number)

    def expire(self) -> None:
        """Cancel the orders whose time in force has passed."""
        if not self._expiring and self._is_due():
            self._expiring = True
            self._begin(self._expire())

    def close_day(self, done: Callable[[], None]) -> None:
        """Refuse new orders and cancel all open ones; then call `done`."""
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
