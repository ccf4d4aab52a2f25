"""The load generator's command reports three mistakes: wrong input, a closed port, and another service at the port."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from trading_bench.__main__ import main


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("secret\n")
    return path


class Run(NamedTuple):
    returncode: int | str | None
    stdout: str
    stderr: str


Bench = Callable[..., Run]


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    """Return a function that runs the load generator's command in this process.

    At the end of the test, the signal handlers are restored.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*options: str | Path) -> Run:
        try:
            returncode = main(["--account", "test", "--symbol", "TEST", *map(str, options)])
        except SystemExit as ended:
            return Run(ended.code, *capsys.readouterr())
        return Run(returncode, *capsys.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_refused_connection_is_one_line_that_says_where(bench: Bench, password_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    run = bench("--host", "127.0.0.1", "--port", str(port), "--password-file", password_file)
    assert run.returncode == 1
    assert run.stderr == (
        f"trading-bench: error: cannot connect to 127.0.0.1:{port}: Connection refused; "
        "is the engine running, and the port open from here?\n"
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "closed the connection during the login"),
        (b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 30000, "not an order-entry port"),
        (b"\x00\x00", "does not speak SoupBinTCP"),
        (b"\x00\x02JS", "session not available"),
    ],
)
def test_another_peer_is_recognised(bench: Bench, password_file: Path, answer: bytes, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        run = bench("--host", "127.0.0.1", "--port", str(port), "--password-file", password_file)
        thread.join()
    assert run.returncode == 1
    assert message in run.stderr
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rate", "0"], "argument --rate"),
        (["--rate", "1000000", "--duration", "60"], "one run can number"),
        (["--price", "cheap"], "argument --price"),
        (["--symbol", "MUCHTOOLONG"], "argument --symbol"),
    ],
)
def test_a_wrong_option_is_named(bench: Bench, password_file: Path, options: list[str], message: str) -> None:
    run = bench("--host", "127.0.0.1", "--password-file", password_file, *options)
    assert run.returncode == 2
    assert message in run.stderr


def test_an_unreadable_or_unfit_password_file_is_named(bench: Bench, tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert (
        f"cannot read the password file {missing}: No such file"
        in bench("--host", "127.0.0.1", "--password-file", missing).stderr
    )
    (tmp_path / "long").write_text("x" * 11)
    assert "1 to 10 characters" in bench("--host", "127.0.0.1", "--password-file", tmp_path / "long").stderr


def test_the_help_explains_the_exit_codes(bench: Bench) -> None:
    run = bench("--help")
    assert run.returncode == 0
    assert "the run was interrupted" in run.stdout


def test_it_needs_nothing_but_the_standard_library(password_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # With the option -S, Python finds no installed packages.
    command = [sys.executable, "-S", "-m", "trading_bench", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--account", "test", "--symbol", "TEST", "--password-file", str(password_file)]
    sources = str(Path(__file__).parents[3] / "files/engine/src")
    run = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": sources}, capture_output=True, text=True, check=False, timeout=60
    )
    assert (run.returncode, run.stderr.count("\n")) == (1, 1), run.stderr
    assert f"cannot connect to 127.0.0.1:{port}" in run.stderr
