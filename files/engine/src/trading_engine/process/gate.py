"""The checks of a newly started release before order entry is opened. The command `trading-engine gate` makes them.

The running engine must be of the same version as this command, and must not have failed. Its state must be that of the
snapshot that the previous engine wrote. An order of a test account must be rejected because order entry is closed.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from trading_engine.host.runs import run_prefix
from trading_engine.host.sockets import family_of
from trading_engine.machine.encode import REJECT_CLOSED
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.process import admin
from trading_engine.process.admin import AdminError
from trading_engine.process.canary import reachable
from trading_engine.settings.config import EngineConfig, Symbol
from trading_engine.storage import snapshot
from trading_engine.wire import ouch, soupbintcp
from trading_engine.wire.layout import WireError

PATIENCE_S: Final = 5.0


class GateError(Exception):
    """Order entry of the new release must not be opened. The message says why."""


def check(config: EngineConfig, account: str, password: str) -> dict[str, Any]:
    """Check the running engine. Return its version, its number of open orders, and the letter of a rejection.

    The check tries to enter an order for `account`, and the engine must reject it. The letter is the reason of this
    rejection, which remains in the account's log of replies. Raises GateError when a check fails.
    """
    try:
        status = admin.ask(config.admin_socket, {"command": "status"})
    except AdminError as error:
        raise GateError(f"the engine does not answer: {error}") from error
    _check_status(status, config.journal.directory)
    halted = set(status["halted"])
    symbols = [symbol for symbol in config.symbols if not symbol.restricted and symbol.name not in halted]
    if account in status["killed"] or not symbols:
        raise GateError(f"no order can be tried: {account} is killed, or every symbol is halted or restricted")
    try:
        letter = _answer(config, account, password, symbols[0])
    except (OSError, WireError) as error:
        raise GateError(f"an order of {account} was not answered: {error}") from error
    if letter != chr(REJECT_CLOSED):
        raise GateError(f"order entry is not closed: an order of {account} was answered with {letter!r}")
    return {"version": status["version"], "open_orders": status["open_orders"], "rejected": letter}


def _check_status(status: dict[str, Any], directory: Path) -> None:
    if status["failure"]:
        raise GateError(f"the engine has failed: {status['failure']}")
    if status.get("version") != MACHINE_VERSION:
        raise GateError(f"the engine that runs is {status.get('version')}, not {MACHINE_VERSION}")
    if not status["entry_closed"]:
        raise GateError("order entry is open already")
    snapshots = snapshot.files(directory)
    if snapshots and snapshot.stored_digest(snapshots[-1]) != status["recovered_snapshot_sha256"]:
        raise GateError(f"the engine did not continue from {snapshots[-1]}: its state has another SHA-256")


def _answer(config: EngineConfig, account: str, password: str, symbol: Symbol) -> str:
    """Enter an order, and return the letter of the reason why it was rejected.

    If it is not rejected, return the type of the message that came. Raises OSError or WireError if there is no valid
    answer.
    """
    address = reachable((config.order_entry.address, config.order_entry.port))
    token = run_prefix().decode("ascii").ljust(ouch.TOKEN_BYTES, "0")
    order = ouch.EnterOrder(token, "B", symbol.lot_shares, symbol.name, symbol.tick_e4 or 1, ouch.TIF_IOC)
    with socket.socket(family_of(address[0]), socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(address)
        connection.sendall(soupbintcp.login_request(account, password, sequence=0))
        for kind, payload in _packets(connection):
            if kind == soupbintcp.LOGIN_REJECTED:
                raise ConnectionError(f"the login was rejected with {payload.decode('latin-1')!r}")
            if kind == soupbintcp.LOGIN_ACCEPTED:
                connection.sendall(soupbintcp.unsequenced(ouch.INBOUND.encode(order)))
            if kind == soupbintcp.SEQUENCED:
                message = ouch.OUTBOUND.decode(payload)
                if getattr(message, "token", "").strip() == token:
                    with contextlib.suppress(OSError):
                        connection.sendall(soupbintcp.LOGOUT_REQUEST_PACKET)
                    return message.reason if isinstance(message, ouch.Rejected) else type(message).__name__
    raise ConnectionError("the connection was closed")


def _packets(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    splitter, end_s = soupbintcp.Splitter(), time.monotonic() + PATIENCE_S
    while data := connection.recv(1 << 16):
        yield from splitter.feed(data)
        if time.monotonic() > end_s:
            raise TimeoutError(f"no answer in {PATIENCE_S:.0f} seconds")
