"""The state that the connections of one administration socket share: how many may be open, and what is logged."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Mapping

from trading_engine.process.people import EVERYTHING, Person

_MOST = 16
"""The limit of people's connections: far below the descriptors that clients must leave, see `host.descriptors`."""
_MOST_OF_ONE = 4
"""The limit for one person, so that others can still connect to halt something."""
_QUIET_S = 1.0


class Visitors:
    """The connections of one socket.

    Root and the engine's user always have room: no person can lock them out by filling it.
    """

    def __init__(self, roles: Mapping[int, str], now: Callable[[], float]) -> None:
        """Keep `roles`: the role of a group's members, by the group's number."""
        self.roles = roles
        self._now = now
        self._here: Counter[str] = Counter()
        self._next_refusal = 0.0
        self._left_out = 0

    def admit(self, person: Person) -> bool:
        """Count the person and return whether there was room. A person who was admitted has to `leave` afterwards."""
        if person.role == EVERYTHING:
            return True
        if self._here.total() >= _MOST or self._here[person.name] >= _MOST_OF_ONE:
            return False
        self._here[person.name] += 1
        return True

    def leave(self, person: Person) -> None:
        if person.role != EVERYTHING:
            self._here[person.name] -= 1
            self._here += Counter()  # removes people without a connection

    def log(self, text: str, refused: bool) -> None:
        """Print the text, but at most one refusal a second: orders wait for the reader of the process's errors."""
        now = self._now()
        if refused and now < self._next_refusal:
            self._left_out += 1
            return
        if refused:
            self._next_refusal = now + _QUIET_S
        more = f" ({self._left_out} refusals before it are not shown)" if self._left_out else ""
        self._left_out = 0
        with contextlib.suppress(OSError):  # a closed standard error must not end the market
            print(f"trading-engine: admin: {text}{more}", file=sys.stderr, flush=True)
