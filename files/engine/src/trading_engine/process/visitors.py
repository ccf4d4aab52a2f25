"""What the connections of one administration socket share: how many there may be, and what the log says of them."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Mapping

from trading_engine.process.people import EVERYTHING, Person

_MOST = 16
"""Connections of people: far fewer than the descriptors that clients have to leave, see `host.descriptors`."""
_MOST_OF_ONE = 4
"""So that one person leaves room for those who have to halt something."""
_QUIET_S = 1.0


class Visitors:
    """Root and the engine's own user always have room: a person who fills a socket locks out neither."""

    def __init__(self, roles: Mapping[int, str], now: Callable[[], float]) -> None:
        """`roles` says what the members of a group, by its number, may do."""
        self.roles = roles
        self._now = now
        self._here: Counter[str] = Counter()
        self._next_refusal = 0.0
        self._left_out = 0

    def admit(self, person: Person) -> bool:
        """Count the person, who has to `leave` afterwards, or return that there is no room."""
        if person.role == EVERYTHING:
            return True
        if self._here.total() >= _MOST or self._here[person.name] >= _MOST_OF_ONE:
            return False
        self._here[person.name] += 1
        return True

    def leave(self, person: Person) -> None:
        if person.role != EVERYTHING:
            self._here[person.name] -= 1
            self._here += Counter()  # which forgets those of whom none is left

    def log(self, text: str, refused: bool) -> None:
        """Print it, of refusals one a second: orders wait for whoever reads the process's errors."""
        now = self._now()
        if refused and now < self._next_refusal:
            self._left_out += 1
            return
        if refused:
            self._next_refusal = now + _QUIET_S
        more = f" ({self._left_out} refusals before it are not shown)" if self._left_out else ""
        self._left_out = 0
        with contextlib.suppress(OSError):  # nobody reads them any more: no reason to end the market
            print(f"trading-engine: admin: {text}{more}", file=sys.stderr, flush=True)
