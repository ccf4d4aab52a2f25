"""Command line of `trading-engine`: the engine itself, and the operators' commands."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trading_engine.host.processes import lives
from trading_engine.host.sockets import not_of_this_machine
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.process import admin, selfcheck, tools
from trading_engine.process.admin import AdminError
from trading_engine.process.people import socket_of
from trading_engine.process.reload import parts_of
from trading_engine.process.selfcheck import SelfCheckError
from trading_engine.process.statecheck import check_state
from trading_engine.published.shm import StateError, StateReader
from trading_engine.settings import config, passwords
from trading_engine.settings.tables import ConfigError
from trading_engine.storage.journal import JournalError
from trading_engine.storage.snapshot import SnapshotError
from trading_engine.wire.soupbintcp import PASSWORD_BYTES

EXIT_NOT_RUNNING = 1
EXIT_ERROR = 2
SERVICE_PAUSE_S = 5.0
_ORDERS = ("status", "halt", "resume", "kill", "unkill", "bust", "close-entry", "open-entry", "next-day", "reload")


class UserError(Exception):
    """An error that the user of the command line has to correct. Its message is printed in one line."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command of `trading-engine` that these arguments name, and return its exit code.

    0 means success, 1 that no engine runs (only for `status`), and 2 an error, whose message was printed.
    """
    options = _parser().parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], int] = options.run
        return command(options)
    except (ConfigError, UserError, AdminError, JournalError, SelfCheckError, SnapshotError) as error:
        print(f"trading-engine: error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"trading-engine: error: {error.filename}: {error.strerror}", file=sys.stderr)
    if options.run is _serve and os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid()):
        # systemd restarts the service at once. Without this pause, an error that persists would fill the log.
        time.sleep(SERVICE_PAUSE_S)
    return EXIT_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trading-engine",
        description="Matching engine: OUCH 4.2 over SoupBinTCP. Without a command it runs until SIGTERM.",
    )
    parser.add_argument("--version", action="version", version=MACHINE_VERSION)
    parser.add_argument("--config", metavar="FILE", type=Path, help="engine.toml")
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(metavar="COMMAND")
    check = commands.add_parser("check-config", help="say whether a configuration can be used")
    check.add_argument("file", type=Path)
    check.set_defaults(run=_check_config)
    example = commands.add_parser("example-config", help="print a commented configuration that runs as it is")
    example.set_defaults(run=_example_config)
    hashing = commands.add_parser("hash-password", help="read a password from stdin, print its hash for accounts.toml")
    hashing.set_defaults(run=_hash_password)
    status = commands.add_parser("status", help="print the running engine's published state as JSON")
    status.add_argument("--config", metavar="FILE", type=Path, required=True)
    status.set_defaults(run=_status)
    order = commands.add_parser("admin", help="tell the running engine what to do")
    order.add_argument("--config", metavar="FILE", type=Path, help="engine.toml; without it by the socket for people")
    order.add_argument("--partition", metavar="NAME", default="", help="of several engines, which one people ask")
    order.add_argument("command", choices=_ORDERS)
    order.add_argument("name", nargs="?", default="", help="symbol, account, or match number")
    order.set_defaults(run=_admin)
    entry = commands.add_parser("next-start", help="say whether the next start opens order entry or keeps it closed")
    entry.add_argument("entry", choices=("open", "closed"))
    entry.add_argument("--config", metavar="FILE", type=Path, required=True)
    entry.set_defaults(run=_next_start)
    gate = commands.add_parser("gate", help="say whether the running engine, started closed, may be given orders")
    gate.add_argument("--config", metavar="FILE", type=Path, required=True)
    gate.add_argument("--account", required=True, help="a test account, whose order must be rejected")
    gate.add_argument("--password-file", metavar="FILE", type=Path, required=True)
    gate.set_defaults(run=_gate)
    sealing = commands.add_parser("seal", help="make up for a clean stop: leave a snapshot that any version takes")
    sealing.add_argument("--config", metavar="FILE", type=Path, required=True)
    sealing.set_defaults(run=_seal)
    itself = commands.add_parser("self-check", help="import all of this release and replay the journal it ships")
    itself.set_defaults(run=_self_check)
    for name, run, text in (
        ("verify", _verify, "check every segment and snapshot of a journal directory"),
        ("check-journal", _check_journal, "say whether this version can go on from a journal directory"),
        ("check-state", _check_state, "prove the newest snapshot by a replay of the journal before it"),
        ("replay", _replay, "replay a journal directory; print what comes out as SHA-256"),
        ("snapshot", _snapshot, "write a snapshot of what a journal directory's sealed segments hold"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("directory", metavar="DIR", type=Path)
        if run is _replay:
            command.add_argument("--any-version", action="store_true", help="also what another version wrote")
        command.set_defaults(run=run)
    return parser


def _serve(options: argparse.Namespace) -> int:
    from trading_engine.engine import StartError
    from trading_engine.process import server  # the other commands need no event loop

    if options.config is None:
        raise UserError("no configuration; use --config FILE (`trading-engine example-config` prints one)")
    try:
        return server.run(config.read(options.config))
    except StartError as error:
        raise UserError(str(error)) from error


def _check_config(options: argparse.Namespace) -> int:
    read = config.read(options.file)
    for table, endpoint in (("order_entry", read.order_entry), ("market_data", read.market_data)):
        if wrong := not_of_this_machine(endpoint.address):
            raise ConfigError(f"{options.file} [{table}]: {wrong}")
    print(f"{options.file}: {len(read.accounts)} account(s), {len(read.symbols)} symbol(s)")
    return 0


def _example_config(options: argparse.Namespace) -> int:
    print(config.example(), end="")
    return 0


def _hash_password(options: argparse.Namespace) -> int:
    password = sys.stdin.readline().rstrip("\r\n")
    if not 1 <= len(password) <= PASSWORD_BYTES or not password.isascii():
        raise UserError(f"SoupBinTCP passwords have 1 to {PASSWORD_BYTES} ASCII characters, got {len(password)}")
    obstacle = passwords.obstacle()
    if obstacle:
        raise UserError(obstacle)
    print(passwords.hash_password(password))
    return 0


def _status(options: argparse.Namespace) -> int:
    path = config.read(options.config).shared_memory
    try:
        state = StateReader(path).read()
    except StateError as error:
        print(json.dumps({"running": False, "reason": str(error), "sessions_open": 0, "test_sessions_open": 0}))
        return EXIT_NOT_RUNNING
    running = lives(state.pid)
    print(
        json.dumps(
            {
                "running": running,
                "pid": state.pid,
                "version": state.version,
                "compiled": state.compiled,
                "started_ns": state.started_ns,
                "published_ns": state.published_ns,
                "durability": state.durability,
                "failure": state.failure,
                "sessions_open": state.gauges["sessions_open"] if running else 0,
                "test_sessions_open": state.gauges["test_sessions_open"] if running else 0,
                "counters": state.counters,
                "gauges": state.gauges,
            },
            indent=2,
        )
    )
    return 0 if running else EXIT_NOT_RUNNING


def _verify(options: argparse.Namespace) -> int:
    for line in tools.verify(_existing(options.directory)):
        print(line)
    return 0


def _check_journal(options: argparse.Namespace) -> int:
    records = tools.check_journal(_existing(options.directory))
    print(f"{options.directory}: this version goes on after record {records}")
    return 0


def _check_state(options: argparse.Namespace) -> int:
    print(f"{options.directory}: {check_state(_existing(options.directory))}")
    return 0


def _replay(options: argparse.Namespace) -> int:
    version = None if options.any_version else MACHINE_VERSION
    print(json.dumps(tools.replay(_existing(options.directory), version), indent=2))
    return 0


def _next_start(options: argparse.Namespace) -> int:
    from trading_engine.engine import CLOSED_FILE

    path = config.read(options.config).journal.directory / CLOSED_FILE
    if options.entry == "closed":
        # Before the first start the directory does not exist. At the start, systemd makes the engine's user its owner.
        path.parent.mkdir(0o750, parents=True, exist_ok=True)
        path.touch(0o640)
    else:
        path.unlink(missing_ok=True)
    return 0


def _gate(options: argparse.Namespace) -> int:
    from trading_engine.process import gate

    try:
        password = options.password_file.read_text(encoding="ascii").partition("\n")[0]
        print(json.dumps(gate.check(config.read(options.config), options.account, password)))
    except gate.GateError as error:
        raise UserError(str(error)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{options.password_file} holds no password: it is not ASCII") from error
    return 0


def _seal(options: argparse.Namespace) -> int:
    from trading_engine.engine import StartError
    from trading_engine.process import sealing

    read = config.read(options.config)
    try:
        replayed = sealing.seal(read)
    except StartError as error:
        raise UserError(str(error)) from error
    print(f"{read.journal.directory}: {replayed} records replayed, any version goes on from the snapshot")
    return 0


def _self_check(options: argparse.Namespace) -> int:
    print(json.dumps(selfcheck.check(), indent=2))
    return 0


def _snapshot(options: argparse.Namespace) -> int:
    path = tools.snapshot_at_idle(_existing(options.directory))
    print(path if path else "nothing new: no sealed segment after the newest snapshot")
    return 0


def _admin(options: argparse.Namespace) -> int:
    request = {"command": options.command, "name": options.name}
    if options.config is None:
        if options.command in ("bust", "reload"):
            raise UserError(f"{options.command} reads the engine's files: give --config, as root")
        try:
            path = socket_of(options.partition)
        except ValueError as error:
            raise UserError(f"--partition {options.partition!r} is the name of no partition") from error
        print(json.dumps(admin.ask(path, request)))
        return 0
    if options.partition:
        raise UserError("--config names the engine already: leave --partition out")
    settings = config.read(options.config)
    if options.command == "reload":
        print(json.dumps(admin.ask(settings.admin_socket, *parts_of(settings))))
        return 0
    if options.command == "bust":
        if not options.name.isdigit():
            raise UserError(f"bust needs a match number, not {options.name!r}")
        # The parties are found in the files of replies, and the engine writes these a moment after the trade.
        admin.ask(settings.admin_socket, {"command": "write-replies"})
        parties = tools.parties_of(settings.journal.directory, int(options.name))
        if not parties:
            raise UserError(f"no kept reply of this session has match {options.name}")
        request = {"command": "bust", "match": int(options.name), "parties": parties}
    print(json.dumps(admin.ask(settings.admin_socket, request)))
    return 0


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        raise UserError(f"{directory} is no directory; give the one that [journal] directory names")
    return directory


if __name__ == "__main__":
    sys.exit(main())
