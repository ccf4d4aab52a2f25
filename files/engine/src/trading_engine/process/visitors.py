"""The limits for one administration socket: on its connections, and on the log of the commands."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Mapping

from trading_engine.process.people import EVERYTHING, Person

_MOST = 16
"""The limit on the connections of people. It is far less than the descriptors that `host.descriptors` keeps free."""
_MOST_OF_ONE = 4
"""The limit on the connections of one person, so that others can still connect, for example to halt a symbol."""
_QUIET_S = 1.0


class Visitors:
    """The people who are connected to one administration socket, and the log of their commands.

    The number of connections of each person is limited. Root and the engine's user have no limit, so that no person can
    prevent their connections.
    """

    def __init__(self, roles: Mapping[int, str], now: Callable[[], float]) -> None:
        """`roles` maps ids of groups to roles. `now` is a function that returns a monotonic time in seconds."""
        self.roles = roles
        self._now = now
        self._here: Counter[str] = Counter()
        self._next_refusal = 0.0
        self._left_out = 0

    def admit(self, person: Person) -> bool:
        """Return whether the person may open another connection. If so, count the connection.

        The caller must then call `leave` when the connection ends.
        """
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
        """Print the text to standard error. Refusals are printed at most once a second.

        Printing may have to wait for the reader of standard error, and clients are not served meanwhile.
        """
        now = self._now()
        if refused and now < self._next_refusal:
            self._left_out += 1
            return
        if refused:
            self._next_refusal = now + _QUIET_S
        more = f" ({self._left_out} refusals before it are not shown)" if self._left_out else ""
        self._left_out = 0
        with contextlib.suppress(OSError):  # standard error may be closed, which must not end the engine
            print(f"trading-engine: admin: {text}{more}", file=sys.stderr, flush=True)
