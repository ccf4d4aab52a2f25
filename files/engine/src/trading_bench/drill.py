"""Send orders until an engine is lost, and compare its replies with those of the rebuilt engine (disaster drill).

The command `send` sends orders and records every reply until the connection ends. The command `compare` logs in to the
rebuilt engine and requests the messages of the same session. A client does the same after a lost connection. The
command compares these messages with the recorded ones. It reports the orders that the lost engine had acknowledged and
the rebuilt one does not know.
"""

import argparse
import json
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from trading_engine.wire import ouch, soupbintcp
from trading_engine.wire.layout import WireError

from trading_bench.connection import LIVE, BenchError, Login, RefusedError, log_in, read_password
from trading_bench.flow import MAX_SLOTS, Flow

PRICE_E4 = 1_000_000
RECEIVE_BYTES = 65536
SILENT_S = soupbintcp.HEARTBEAT_INTERVAL_NS / 1e9


def send(login: Login, flow: Flow, rate_per_s: float, kept: BinaryIO, enough: Callable[[], bool]) -> int:
    """Send orders at a steady rate until the connection ends or `enough` returns True.

    Return how many orders were acknowledged (Accepted). The replies are written to `kept`. Its first line is JSON with
    the session and the number of the first message. Each further line has the time at which a message arrived, in
    nanoseconds since 1970, and its bytes in hexadecimal.
    """
    head = {"session": login.accepted.session, "sequence": login.accepted.sequence}
    kept.write(json.dumps(head).encode() + b"\n")
    begun_s = heard_s = time.monotonic()
    slot = acknowledged = 0
    backlog = b""
    while not enough():
        due = min(int((time.monotonic() - begun_s) * rate_per_s) + 1, MAX_SLOTS)
        backlog += b"".join(flow.frames(number) for number in range(slot, due))
        slot = max(slot, due)
        if time.monotonic() - heard_s > SILENT_S:
            heard_s = time.monotonic()
            backlog += soupbintcp.CLIENT_HEARTBEAT_PACKET
        readable, writable, _ = select.select([login.socket], [login.socket] if backlog else [], [], 1 / rate_per_s)
        if writable:
            try:
                backlog = backlog[login.socket.send(backlog) :]
            except OSError:
                backlog = b""  # the engine has closed the connection; its last messages are still read below
        try:
            data = login.socket.recv(RECEIVE_BYTES) if readable else None
        except OSError:
            break
        if data == b"":
            break
        for kind, message in login.splitter.feed(data or b""):
            if kind == soupbintcp.SEQUENCED:
                kept.write(b"%d %s\n" % (time.time_ns(), message.hex().encode()))
                acknowledged += message[:1] == b"A"
    kept.flush()
    return acknowledged


def compare(record: Path, log_in_at: Callable[[str, int], Login], lost_at_s: float, rpo_s: float) -> dict[str, Any]:
    """Return how many of the recorded orders the rebuilt engine has, how many are lost, and the age of the lost ones.

    The age of an order is its age at the time of the loss, `lost_at_s` (Unix time). `log_in_at` is a function that logs
    in to a session at a message number. If the engine cannot send the recorded messages again, only its next message
    number shows how many it has, and `compared` is 0. Raises BenchError when a message differs from the recorded one.
    """
    head, known = _read(record)
    first: int = head["sequence"]
    compared = 0
    try:
        login = log_in_at(head["session"], first)
    except RefusedError:
        login = log_in_at(head["session"], LIVE)
        count = max(login.accepted.sequence - first, 0)
    else:
        again = list(_resumed(login))
        count = len(again)
        for number, ((_, before), after) in enumerate(zip(known, again, strict=False)):
            if before != after:
                which = f"message {first + number} of session {head['session']}"
                raise BenchError(f"{which} was {before.hex()} and is {after.hex()} now: this is another state")
            compared += before[:1] == b"A"
    login.socket.close()
    lost = [(arrived_ns, message) for arrived_ns, message in known[count:] if message[:1] == b"A"]
    ages_s = [lost_at_s - arrived_ns / 1e9 for arrived_ns, _ in lost]
    accepted = sum(message[:1] == b"A" for _, message in known)
    return {
        "acknowledged": accepted,
        "there": accepted - len(lost),
        "compared": compared,
        "lost": len(lost),
        "lost_older_than_promised": sum(age_s > rpo_s for age_s in ages_s),
        "measured_rpo_seconds": round(max(ages_s, default=0.0), 3),
        "lost_orders": [
            {"token": _token(message), "age_seconds": round(age_s, 3)}
            for (_, message), age_s in zip(lost, ages_s, strict=True)
        ],
    }


def _read(record: Path) -> tuple[dict[str, Any], list[tuple[int, bytes]]]:
    try:
        first, *lines = record.read_text(encoding="ascii").splitlines()
        pairs = [line.split(" ") for line in lines]
        return json.loads(first), [(int(time_ns), bytes.fromhex(text)) for time_ns, text in pairs]
    except OSError as error:
        raise BenchError(f"cannot read {record}: {error.strerror}") from error
    except ValueError as error:
        raise BenchError(f"{record} is no record of `trading-drill send`: {error}") from error


def _resumed(login: Login) -> Iterator[bytes]:
    """Yield the messages that the engine sends again after the login.

    A heartbeat or the end of the session shows that there are no more. Raises BenchError if the connection is closed
    before that.
    """
    packets = login.arrived
    heard_s = time.monotonic()
    while True:
        for kind, message in packets:
            if kind == soupbintcp.SEQUENCED:
                yield message
            elif kind in (soupbintcp.SERVER_HEARTBEAT, soupbintcp.END_OF_SESSION):
                return
        if time.monotonic() - heard_s > SILENT_S:
            heard_s = time.monotonic()
            login.socket.send(soupbintcp.CLIENT_HEARTBEAT_PACKET)
        readable, _, _ = select.select([login.socket], [], [], SILENT_S)
        data = login.socket.recv(RECEIVE_BYTES) if readable else b""
        if readable and not data:
            raise BenchError("the engine closed the connection while it sent the session's messages again")
        packets = login.splitter.feed(data)


def _token(accepted: bytes) -> str:
    message = ouch.OUTBOUND.decode(accepted)
    return message.token if isinstance(message, ouch.Accepted) else ""


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="trading-drill", description=__doc__.partition("\n")[0])
    arguments.add_argument("--host", required=True, help="address or name of the trading host")
    arguments.add_argument("--port", type=int, default=9001, help="order-entry port (default: %(default)s)")
    arguments.add_argument("--account", required=True, help="test account to log in with")
    arguments.add_argument("--password-file", required=True, type=Path, help="file whose first line is its password")
    verbs = arguments.add_subparsers(dest="verb", required=True)
    sending = verbs.add_parser("send", help="send orders until the connection ends, and keep every reply")
    sending.add_argument("--symbol", required=True, help="test symbol to trade")
    sending.add_argument("--rate", type=float, default=200.0, help="orders a second (default: %(default).0f)")
    sending.add_argument("--keep", type=Path, required=True, metavar="FILE", help="file for the replies")
    comparing = verbs.add_parser("compare", help="ask a rebuilt engine for the same replies, and say what is lost")
    comparing.add_argument("--record", type=Path, required=True, metavar="FILE", help="what `send` kept")
    comparing.add_argument(
        "--lost-at", type=float, required=True, metavar="SECONDS", help="time of the loss since 1970"
    )
    comparing.add_argument("--rpo", type=float, required=True, metavar="SECONDS", help="how old what is lost may be")
    return arguments


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        password = read_password(options.password_file)

        def log_in_at(session: str, sequence: int) -> Login:
            return log_in(options.host, options.port, options.account, password, sequence, session)

        if options.verb == "send":
            stopped: list[int] = []
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda signum, _frame: stopped.append(signum))
            with options.keep.open("wb") as kept:
                login = log_in_at("", LIVE)
                acknowledged = send(login, Flow(options.symbol, PRICE_E4), options.rate, kept, lambda: bool(stopped))
            print(json.dumps({"acknowledged": acknowledged}))
        else:
            print(json.dumps(compare(options.record, log_in_at, options.lost_at, options.rpo)))
    except (BenchError, WireError, OSError) as error:
        print(f"trading-drill: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
