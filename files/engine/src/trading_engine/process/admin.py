"""Administration of the running engine over Unix sockets. A client sends a line of JSON and gets a line of JSON.

One socket is only for root and the engine's user, the other is for people. Every command that changes the market is an
input in the journal, so that a replay does the same. The journal does not contain who gave the command; the log of the
engine's process does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trading_engine.engine import Engine
from trading_engine.host.clock import SessionsUsedUpError
from trading_engine.machine import inputs
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.process.people import Person, person_at, roles_by_group
from trading_engine.process.reload import Reload, ReloadError
from trading_engine.process.visitors import Visitors
from trading_engine.settings.config import CANARY_ACCOUNT
from trading_engine.wire import ouch

_LINE_BYTES = 65536
_TOO_LONG = f"a line is longer than {_LINE_BYTES} bytes"
_TIMEOUT_S = 10
_RELOAD_TIMEOUT_S = 120  # a reload is done in slices, and clients' orders are processed between them
_SILENCE_S = 10
"""A connection is closed after this time, whether it was answered or not, except for a reload."""
_BACKLOG = 16  # asyncio accepts so many connections in one turn, even those that are then refused
_MOST_SHOWN = 64
_MATCHES = 1 << 64  # match numbers have eight bytes in OUCH and ITCH


class AdminError(Exception):
    """The command cannot be executed. The message says why."""


class Admin:
    """The object that executes the commands of administrators.

    `roll_day` is called for the command next-day: it ends the day and starts the next one. `end_session` is called with
    the number of an account whose client must be disconnected.
    """

    def __init__(self, engine: Engine, roll_day: Callable[[], None], end_session: Callable[[int], None]) -> None:
        self._engine = engine
        self._roll_day = roll_day
        self._end_session = end_session
        self._reloading = False

    def begin_reload(self, request: dict[str, Any]) -> Reload:
        """Return a new Reload, which changes the configuration. The caller then gives it the parts.

        Raises AdminError if the engine has failed or another reload is running. Raises ReloadError if a restart is
        needed.
        """
        if self._engine.failure:
            raise AdminError(f"the engine has failed ({self._engine.failure}); restart it")
        if self._reloading:
            raise AdminError("another reload is under way; ask again in a second")
        reload = Reload(self._engine, self._end_session, request)
        self._reloading = True
        return reload

    def end_reload(self) -> None:
        """Allow the next reload."""
        self._reloading = False

    def execute(self, request: dict[str, Any]) -> dict[str, Any]:
        """Execute a command and return its result. If this raises AdminError, nothing was recorded or changed."""
        if request.get("command") == "status":
            return self._status()
        if self._engine.failure:
            raise AdminError(f"the engine has failed ({self._engine.failure}); restart it")
        command, name = request.get("command"), request.get("name", "")
        if not isinstance(command, str) or not isinstance(name, str):
            raise AdminError("command and name are texts")
        if command in ("halt", "resume"):
            if not _is_symbol(name, self._engine):
                raise AdminError(f"no symbol {name!r}")
            self._submit({"do": command, "symbol": name})
        elif command in ("kill", "unkill"):
            if name not in self._engine.core.accounts:
                raise AdminError(f"no account {name!r}")
            account = self._engine.core.accounts[name]
            if command == "unkill" and self._engine.cancellations.under_way(account.number):
                raise AdminError(f"orders of {name} are still being cancelled; ask again in a second")
            self._submit({"do": command, "account": name})
            if command == "kill":
                self._engine.cancellations.of_account(account.number)
        elif command == "bust":
            self._submit({"do": "bust", **_bust_of(request, self._engine)})
        elif command == "write-replies":
            self._write_replies()
        elif command in ("close-entry", "open-entry"):
            self._set_entry(command == "open-entry")
        elif command == "next-day":
            if self._engine.core.closing:
                raise AdminError("the day is being closed already; ask again in a second")
            self._check_next_day()
            self._roll_day()
        else:
            raise AdminError(f"unknown command {command!r}")
        return {"done": command, "name": name}

    def _status(self) -> dict[str, Any]:
        core = self._engine.core
        return {
            "session": str(core.day),
            "accepting": core.accepting and not self._engine.failure,
            "entry_closed": core.entry_closed,
            "failure": self._engine.failure,
            "version": MACHINE_VERSION,
            "recovered_snapshot_sha256": self._engine.recovered.snapshot_sha256,
            "open_orders": core.open_orders,
            "session_messages": self._session_messages(),
            "halted": [book.stock.decode().rstrip() for book in core.by_locate if book.halted],
            "killed": sorted(account.name for account in core.by_number if account.killed),
        }

    def _session_messages(self) -> int:
        """Return how many replies all accounts together have got in this session.

        The replies to the canary, the engine's own client, are not counted. The first message to each account, which
        says that the session has begun, is not counted either. So the result is 0 as long as only the canary has
        entered orders.
        """
        accounts = (account for name, account in self._engine.core.accounts.items() if name != CANARY_ACCOUNT)
        return sum(max(0, account.sequence - 1) for account in accounts)

    def _set_entry(self, is_open: bool) -> None:
        try:
            if is_open:
                self._engine.open_entry()
            else:
                self._engine.close_entry()
        except OSError as error:
            raise AdminError(f"{self._engine.closed_file}: {error.strerror}") from error

    def _write_replies(self) -> None:
        """Write all replies to their files, so that the caller finds the newest ones there."""
        try:
            self._engine.outbox.flush_replies(len(self._engine.core.by_number))
        except OSError as error:
            self._engine.fail(f"reply log: {error}")
            raise AdminError(f"the engine has failed ({self._engine.failure}); restart it") from error

    def _check_next_day(self) -> None:
        try:
            self._engine.clock.next_session(self._engine.core.day)
        except SessionsUsedUpError as error:
            raise AdminError(f"{error}; the next day begins with the next date") from error

    def _submit(self, payload: dict[str, Any]) -> None:
        self._engine.submit(inputs.ADMIN, payload=json.dumps(payload, sort_keys=True).encode())


class AdminProtocol(asyncio.Protocol):
    """One connection to an administration socket. It reads a command, sends the answer, and is closed.

    A command is a line of JSON. Only a reload has several lines. Each line is processed in a turn of the event loop of
    its own. While lines are waiting, no more lines are read. An error in a reload is answered only after the last line,
    because the client sends until then, and an earlier answer could be lost. A person who may not reload is answered at
    once.
    """

    def __init__(self, admin: Admin, loop: asyncio.AbstractEventLoop, visitors: Visitors) -> None:
        self._admin = admin
        self._loop = loop
        self._visitors = visitors
        self._admitted = False
        self._timeout: asyncio.TimerHandle | None = None
        self._rest = b""
        self._skips = False  # True while the rest of a line that is too long is skipped
        self._lines: deque[bytes] = deque()
        self._transport: asyncio.Transport | None = None
        self._reload: Reload | None = None
        self._is_reload = False
        self._error = ""
        self._steps: Iterator[None] | None = None
        self._scheduled = False
        self._answered = False
        self._person = Person("nobody", "")
        self._asked: dict[str, Any] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's has no common base
        with contextlib.suppress(OSError):  # if the kernel does not answer, the person remains "nobody" without a role
            self._person = person_at(transport.get_extra_info("socket"), self._visitors.roles)
        self._timeout = self._loop.call_later(_SILENCE_S, self._give_up)
        self._admitted = self._visitors.admit(self._person)
        if not self._admitted:
            self._asked = {"command": "connection"}
            self._answer({"error": "too many are asking at once; ask again in a few seconds"})

    def _give_up(self) -> None:
        assert self._transport is not None
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        if self._admitted:
            self._visitors.leave(self._person)
            self._admitted = False
        if self._reload is not None and self._steps is None:  # the last part was not received, so nothing was changed
            self._end_reload()

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        *lines, rest = (self._rest + data).split(b"\n")
        if self._skips and lines:
            del lines[0]
            self._skips = False
        if self._skips:
            rest = b""
        elif len(rest) > _LINE_BYTES:
            lines.append(rest)
            rest = b""
            self._skips = True
        self._lines.extend(lines)
        self._rest = rest
        if self._lines:
            assert self._transport is not None
            self._transport.pause_reading()
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and not self._answered and (self._lines or self._steps is not None):
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        try:
            if self._steps is None:
                self._take(_request_of(self._lines.popleft()))
            elif next(self._steps, self) is self:
                assert self._reload is not None
                self._answer(self._reload.answer)
        except (AdminError, ReloadError) as error:
            self._error = self._error or str(error)
            if not self._is_reload or self._steps is not None:
                self._answer({"error": self._error})
        if not self._lines and not self._answered:
            assert self._transport is not None
            self._transport.resume_reading()
        self._schedule()

    def _take(self, request: dict[str, Any]) -> None:
        if request.get("end") and self._error:
            self._answer({"error": self._error})
        elif self._reload is not None:
            if request.get("end"):
                self._steps = self._reload.steps()
            elif not self._error:
                self._reload.take(request)
        elif not self._is_reload:
            self._begin(request)

    def _begin(self, request: dict[str, Any]) -> None:
        self._asked = request
        if not self._person.may(request.get("command")):
            raise AdminError(f"{self._person.name} has no role on this host that may do that")
        self._is_reload = request.get("command") == "reload"
        if self._is_reload:
            if self._timeout is not None:
                self._timeout.cancel()
            self._reload = self._admin.begin_reload(request)
        else:
            self._answer(self._admin.execute(request))

    def _answer(self, answer: dict[str, Any]) -> None:
        assert self._transport is not None
        self._answered = True
        self._lines.clear()
        self._rest = b""
        self._end_reload()
        self._transport.write(json.dumps(answer).encode() + b"\n")
        self._transport.close()
        self._say(answer)

    def _say(self, answer: dict[str, Any]) -> None:
        """Log who gave which command, and whether the command was done. An answered `status` is not logged."""
        if self._asked.get("command") == "status" and "error" not in answer:
            return
        what = " ".join(_shown(self._asked.get(key, "")) for key in ("command", "name", "match")).strip()
        outcome = f"refused, {_shown(answer['error'], 3)}" if "error" in answer else "done"
        role = self._person.role or "no role"
        self._visitors.log(f"{self._person.name} ({role}): {what}: {outcome}", "error" in answer)

    def _end_reload(self) -> None:
        if self._reload is not None:
            self._reload = None
            self._admin.end_reload()


def serve(
    admin: Admin, path: Path, loop: asyncio.AbstractEventLoop, for_people: bool = False
) -> asyncio.AbstractServer:
    """Return a server that listens on the Unix socket `path`. Raises OSError.

    With `for_people`, every user who may enter the socket's directory can connect. Otherwise only root and the engine's
    user can connect.
    """
    path.unlink(missing_ok=True)
    visitors = Visitors(roles_by_group() if for_people else {}, loop.time)
    before = os.umask(0o111 if for_people else 0o177)
    try:
        return loop.run_until_complete(
            loop.create_unix_server(lambda: AdminProtocol(admin, loop, visitors), str(path), backlog=_BACKLOG)
        )
    finally:
        os.umask(before)


def ask(path: Path, *requests: dict[str, Any]) -> dict[str, Any]:
    """Send a command to the engine that listens on the socket `path`, and return the answer.

    A command is one request, except a reload, which has several. Raises AdminError if the engine does not answer or
    refuses the command.
    """
    lines = [json.dumps(request).encode() + b"\n" for request in requests]
    if max(map(len, lines)) > _LINE_BYTES:
        raise AdminError(f"{_TOO_LONG}, which the engine does not take: has an account that many MPIDs?")
    is_reload = requests[0].get("command") == "reload"
    timeout_s = _RELOAD_TIMEOUT_S if is_reload else _TIMEOUT_S
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            line = bytearray()
            # The engine may answer and close the connection before it has read all lines.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(b"".join(lines))
            with contextlib.suppress(ConnectionResetError):  # the answer arrives before the reset
                while part := connection.recv(4096):
                    line += part
    except TimeoutError as silence:
        goes_on = "; the engine may go on with the reload: ask again, and it says what was left" if is_reload else ""
        raise AdminError(f"{path}: no answer in {timeout_s} seconds{goes_on}") from silence
    except OSError as error:
        why = f"{error.strerror or error}; is the engine running, and may you open its socket?"
        raise AdminError(f"{path}: {why}") from error
    if not line.endswith(b"\n"):
        raise AdminError(f"{path}: the engine ended the connection without an answer; ask again")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise AdminError(answer["error"])
    return answer


def _request_of(line: bytes) -> dict[str, Any]:
    if len(line) > _LINE_BYTES:
        raise AdminError(_TOO_LONG)
    try:
        request = json.loads(line)
    except ValueError as error:
        raise AdminError(str(error)) from error
    except RecursionError as error:
        raise AdminError("nested too deeply") from error
    if not isinstance(request, dict):
        raise AdminError("expected an object")
    return request


def _shown(value: object, words: int = 1) -> str:
    """Return a value from a request as a short text without line breaks."""
    text = value if isinstance(value, str) and value.isascii() and value.isprintable() else ascii(value)
    return text if len(text) <= words * _MOST_SHOWN else f"{text[: words * _MOST_SHOWN]}..."


def _is_symbol(name: str, engine: Engine) -> bool:
    return name.isascii() and name.encode("ascii").ljust(8) in engine.core.books


def _bust_of(request: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """Return the match number and the parties of the trade to break (bust). Raises AdminError if they are wrong.

    Everything that the core assumes is checked here. An exception in the core would leave the command half done.
    """
    parties = request.get("parties")
    match = request.get("match")
    if type(match) is not int or not isinstance(parties, list) or not 1 <= len(parties) <= 2:
        raise AdminError("a bust names its match and one or two parties")
    if not 0 < match < _MATCHES:
        raise AdminError(f"match is a number from 1 to {_MATCHES - 1}")
    for party in parties:
        if not isinstance(party, list) or len(party) != 3 or not all(isinstance(part, str) for part in party):
            raise AdminError("a party is a list of three texts: account, token, symbol")
        name, token, stock = party
        token_fits = len(token) <= ouch.TOKEN_BYTES and all(ord(letter) < 256 for letter in token)
        if name not in engine.core.accounts or not token_fits or not _is_symbol(stock, engine):
            raise AdminError(f"no such party: {name!r} {token!r} {stock!r}")
    return {"match": match, "parties": parties}
