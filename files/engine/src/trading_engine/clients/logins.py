"""Who may log in: password checks outside of the loop's thread, and a brake on guessing."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from trading_engine.settings.passwords import Verifier

_FAILURES = 10
_WINDOW_NS = 60_000_000_000
_ADDRESSES = 1024


class Throttle:
    """After ten failed logins within a minute an address waits until the minute is over."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def allows(self, address: str, now_ns: int) -> bool:
        since_ns, failures = self._failures.get(address, (now_ns, 0))
        return failures < _FAILURES or now_ns - since_ns > _WINDOW_NS

    def failed(self, address: str, now_ns: int) -> None:
        since_ns, failures = self._failures.pop(address, (now_ns, 0))
        if now_ns - since_ns > _WINDOW_NS:
            since_ns, failures = now_ns, 0
        self._failures[address] = (since_ns, failures + 1)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)


class PasswordChecks:
    """One thread of low priority that computes hashes; what was right once is remembered."""

    def __init__(self) -> None:
        self.verifier = Verifier()
        self.threads = ThreadPoolExecutor(1, "password", initializer=_be_nice)

    def stop(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


def _be_nice() -> None:
    with contextlib.suppress(OSError):  # a unit's or a container's filter may refuse it
        os.setpriority(os.PRIO_PROCESS, 0, 15)  # 0 is the calling thread on Linux
