"""A real engine process and a client that connects over TCP. Tests use them to check what users see."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

from trading_engine.__main__ import main
from trading_engine.published.shm import State, StateReader
from trading_engine.settings import passwords
from trading_engine.wire import ouch, soupbintcp

DEADLINE_S = 60.0  # long, because other tests may run at the same time
PASSWORD = "secret"
_COMPILED = tempfile.TemporaryDirectory(prefix="engine-bytecode-")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
ENVIRONMENT.setdefault("PYTHONPYCACHEPREFIX", _COMPILED.name)  # lets all processes share compiled files
_FIRST_ENVIRONMENT = dict(ENVIRONMENT)


def cheap_hash(password: str) -> str:
    """Return a hash of the password. A check against it costs microseconds of CPU time, instead of 50 ms."""
    with mock.patch.object(passwords, "_COST", 2):
        return passwords.hash_password(password)


_HASH = cheap_hash(PASSWORD)


def command(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of `trading-engine` inside the test's process. A new process would need long for its imports.

    `typed` is what the command reads from standard input.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "stdin", io.StringIO(typed)),
    ):
        try:
            code = main(list(arguments))
        except SystemExit as ended:  # raised by argparse
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@functools.cache
def _template() -> socket.socket:
    """Start the process that forks engines (see template.py). That process ends with the tests' process."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        program = Path(__file__).with_name("template.py")
        process = subprocess.Popen(
            [sys.executable, "-P", str(program)], stdin=its.fileno(), stdout=subprocess.DEVNULL, env=_FIRST_ENVIRONMENT
        )

    def end() -> None:
        ours.close()
        process.wait(DEADLINE_S)

    atexit.register(end)
    return ours


class Forked:
    """An engine process, forked by the process of template.py. It has the methods of Popen that the tests use."""

    def __init__(self, arguments: list[str]) -> None:
        errors, errors_end = os.pipe()
        status, status_end = os.pipe()
        socket.send_fds(_template(), [json.dumps(arguments).encode()], [errors_end, status_end])
        os.close(errors_end)
        os.close(status_end)
        self.stderr = os.fdopen(errors)
        self._status = os.fdopen(status)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("trading-engine", timeout)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[None, str]:
        self.wait(timeout)
        with self.stderr:
            return None, self.stderr.read()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EngineProcess:
    """Runs `trading-engine` in its own directory. It has the accounts ANNA and BERT and the symbol TEST."""

    def __init__(self, directory: Path, **tables: Any) -> None:
        """Write the engine's configuration.

        `tables` changes the usual configuration. Each of its keys is the name of a table. The value is a dictionary of
        keys to add to this table or to replace in it.
        """
        self.directory = directory
        self.port = free_port()
        self.config = directory / "engine.toml"
        settings: dict[str, dict[str, object]] = {
            "order_entry": {"port": self.port},
            "journal": {"directory": "journal", "segment_bytes": 1 << 20, "budget_bytes": 64 << 20, "reserve_bytes": 0},
            "itch": {"directory": "itch"},
            "shared_memory": {"path": "engine.shm"},
            "admin": {"socket": "admin.sock"},
            "risk": {"collar_percent": 0},
            "accounts.ANNA": {"password": _HASH},
            "accounts.BERT": {"password": _HASH, "test": True},
        }
        for name, values in tables.items():
            settings.setdefault(name, {}).update(values)
        lines = []
        for name, values in settings.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
        lines += ["[[symbol]]", 'name = "TEST"', 'reference_price = "100"']
        self.config.write_text("\n".join(lines))
        self.process: subprocess.Popen[str] | Forked | None = None
        self.extensions = 0

    def start(self) -> None:
        """Start the engine. Wait until the engine reports that it serves clients.

        The report goes to the socket NOTIFY_SOCKET, which normally belongs to systemd.
        """
        notify = self.directory / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            ready.settimeout(DEADLINE_S)
            arguments = ["--config", str(self.config)]
            if ENVIRONMENT == _FIRST_ENVIRONMENT:
                self.process = Forked([str(notify), *arguments])
            else:  # a test has changed it, which may change what is imported
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "trading_engine", *arguments],
                    env={**ENVIRONMENT, "NOTIFY_SOCKET": str(notify)},
                    stderr=subprocess.PIPE,
                    text=True,
                )
            message = ready.recv(4096)
            while message.startswith(b"EXTEND_TIMEOUT_USEC="):
                self.extensions += 1
                message = ready.recv(4096)
        assert message.startswith(b"READY=1"), message

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send the signal and wait until the engine has ended.

        Return the exit status and the text on standard error. After SIGKILL, this text is empty.
        """
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:  # a child that makes a snapshot may keep the pipe open
            assert self.process.stderr is not None
            self.process.stderr.close()
            errors = ""
        else:
            _, errors = self.process.communicate(timeout=DEADLINE_S)
        code = self.process.wait(DEADLINE_S)
        self.process = None
        return code, errors

    def __enter__(self) -> EngineProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.stop(signal.SIGKILL)


def wait_for_state(engine: EngineProcess, reached: Callable[[State], bool]) -> State:
    """Wait until the engine publishes a state for which `reached` returns true. Return this state.

    Raises AssertionError after a deadline.
    """
    reader = StateReader(engine.directory / "engine.shm")
    end = time.monotonic() + DEADLINE_S
    while not reached(state := reader.read()):
        assert time.monotonic() < end, (state.counters, state.gauges, state.unassigned, state.events)
        time.sleep(0.02)  # the engine publishes every 0.1 seconds
    reader.close()
    return state


class Client:
    """A SoupBinTCP client whose calls wait for data.

    `messages` has the decoded messages that it has received. `raw` has all bytes that it has received.
    """

    def __init__(self, port: int, account: str = "ANNA", password: str = PASSWORD, sequence: int = 1) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self.socket.sendall(soupbintcp.login_request(account, password, "", sequence))
        self.messages: list[Any] = []
        self.sent = soupbintcp.login_request(account, password, "", sequence)
        self.raw = b""
        self.login: soupbintcp.LoginAccepted | str | None = None
        self.ended = False
        self._splitter = soupbintcp.Splitter()
        self.wait(lambda: self.login is not None)

    def send(self, *messages: tuple[Any, ...]) -> None:
        data = b"".join(soupbintcp.unsequenced(ouch.INBOUND.encode(message)) for message in messages)
        self.sent += data
        self.socket.sendall(data)

    def wait(self, reached: Callable[[], bool]) -> None:
        """Read until `reached` returns true or the connection ends.

        Raises AssertionError after a deadline.
        """
        end = time.monotonic() + DEADLINE_S
        while not reached() and not self.ended:
            assert time.monotonic() < end, f"not reached; got {self.messages[-3:]}"
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                self.ended = True
                self.close()
            self.raw += data
            for kind, payload in self._splitter.feed(data):
                if kind == soupbintcp.LOGIN_ACCEPTED:
                    self.login = soupbintcp.parse_login_accepted(payload)
                elif kind == soupbintcp.LOGIN_REJECTED:
                    self.login = payload.decode()
                    self.close()
                    return
                elif kind == soupbintcp.SEQUENCED:
                    self.messages.append(ouch.OUTBOUND.decode(payload))

    def wait_for(self, count: int) -> list[Any]:
        self.wait(lambda: len(self.messages) >= count)
        return self.messages

    def close(self) -> None:
        self.socket.close()


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else f'"{value}"'
