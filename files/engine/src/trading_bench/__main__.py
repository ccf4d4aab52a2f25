"""Command line of `trading-bench`, the load generator."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from trading_bench import cpus, html_report, recording_file
from trading_bench.connection import BenchError, connect, read_password
from trading_bench.feed import Subscriber
from trading_bench.flow import MAX_SLOTS, Flow
from trading_bench.generator import Generator, Recording
from trading_bench.machine import find_group
from trading_bench.summary import Round, Summary, summarize, table
from trading_bench.watching import Watching

EPILOG = """\
exit codes:
  0  the run was measured; whether the figures are good enough is for the reader to say
  1  the run could not start or was broken off: connection refused, login rejected, connection lost
  2  a wrong option
  3  the run was interrupted: its figures are those of a part
"""
# The watch lasts this much longer than the load: for the login, the start of the schedule, and the last answers.
WATCH_LONGER_S = 30.0


def _price_e4(text: str) -> int:
    price_e4 = round(float(text) * 10_000)
    if not 200 <= price_e4 <= 1_999_999_900:
        raise ValueError(text)
    return price_e4


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def _symbol(text: str) -> str:
    if not (1 <= len(text) <= 8 and text.isascii() and text.isprintable()):
        raise ValueError(text)
    return text


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="trading-bench",
        description="Measure an order-entry port with an open loop of OUCH 4.2 orders over SoupBinTCP.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("--host", required=True, help="address or name of the trading host")
    arguments.add_argument("--port", type=int, default=9001, help="order-entry port (default: %(default)s)")
    arguments.add_argument("--account", required=True, help="account to log in with; use a test account")
    arguments.add_argument(
        "--password-file", required=True, type=Path, help="file whose first line is the account's password"
    )
    arguments.add_argument(
        "--symbol", required=True, type=_symbol, help="symbol to trade; use a test symbol, its book should be empty"
    )
    arguments.add_argument(
        "--price",
        type=_price_e4,
        default=_price_e4("100"),
        metavar="PRICE",
        help="price the orders are around, within the symbol's collar (default: 100)",
    )
    arguments.add_argument(
        "--feed",
        type=int,
        nargs="?",
        const=9002,
        default=0,
        metavar="PORT",
        help="subscribe to the market data of that port (%(const)s without one), and measure how long after its reply "
        "an order is seen there",
    )
    arguments.add_argument(
        "--rate",
        type=_positive,
        default=10_000.0,
        help="orders offered a second (default: %(default).0f); more throughput than this can never be shown",
    )
    arguments.add_argument(
        "--duration", type=_positive, default=10.0, metavar="SECONDS", help="measured time (default: %(default).0f)"
    )
    arguments.add_argument(
        "--warmup",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="time before it that is not measured (default: %(default).0f)",
    )
    arguments.add_argument(
        "--cpus", type=cpus.parse, default=[], metavar="LIST", help="CPUs for the generator (default: where it may run)"
    )
    arguments.add_argument(
        "--keep-off", type=cpus.parse, default=[], metavar="LIST", help="CPUs that it leaves to the engine"
    )
    arguments.add_argument(
        "--machine-group",
        default="",
        metavar="NAME",
        help="control group here that holds the engine's machine: the generator keeps off its CPUs, and what other "
        "processes take of them is a disturbance",
    )
    arguments.add_argument(
        "--witness",
        action="store_true",
        help="watch the generator's CPUs, and those of --keep-off, with real-time threads: about 2 %% of each",
    )
    arguments.add_argument(
        "--state", type=Path, metavar="FILE", help="published state of an engine on this host, for its own stalls"
    )
    arguments.add_argument(
        "--engine-process",
        type=int,
        default=0,
        metavar="PID",
        help="an engine on this host that has its CPUs for itself: what other processes take of them is a disturbance",
    )
    arguments.add_argument("--keep", type=Path, metavar="FILE", help="keep every order's times, for trading-figures")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON")
    arguments.add_argument("--html", type=Path, metavar="FILE", help="write a report with drawings")
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = parser()
    options = arguments.parse_args(argv)
    warmup_slots = int(options.rate * max(options.warmup, 0))
    slots = warmup_slots + max(int(options.rate * options.duration), 1)
    if slots > MAX_SLOTS:
        arguments.error(f"--rate times (--duration + --warmup) is {slots} orders; one run can number {MAX_SLOTS}")
    try:
        return _measure(options, Recording(options.rate, slots, warmup_slots))
    except BenchError as error:
        print(f"trading-bench: error: {error}", file=sys.stderr)
        return 1


def _measure(options: argparse.Namespace, recording: Recording) -> int:
    interrupts: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _frame: interrupts.append(signum))
    engines = [*options.keep_off, *_cpus_of(options.machine_group)]
    mine, recording.spins = cpus.place(
        options.cpus,
        engines,
        feed_beside=bool(options.feed and options.keep_off),  # with --keep-off, engine and feed run on this host
    )
    password = read_password(options.password_file)
    started_s = time.time()
    watching = None
    if options.witness:
        limit_s = options.warmup + options.duration + WATCH_LONGER_S
        watched = {mine[-1], *options.keep_off}
        # If the engine may run on the generator's CPU, the generator may also wait for the engine, which is no
        # disturbance.
        apart = bool(engines) and not set(mine) & set(engines)
        watching = Watching(
            sorted(watched),
            limit_s,
            options.state,
            options.machine_group,
            options.engine_process,
            generator=os.getpid() if apart else 0,
        )
    try:
        connection, splitter = connect(options.host, options.port, options.account, password)
        subscriber = Subscriber(options.host, options.feed, options.account, password) if options.feed else None
        cpus.go_first()
        generator = Generator(connection, splitter, Flow(options.symbol, options.price), recording, subscriber)
        generator.run(lambda: bool(interrupts))
    finally:
        own = watching.end() if watching else None
    left_open_shares = generator.cancel_all()
    generator.log_out()
    target = {"host": options.host, "port": options.port, "account": options.account, "symbol": options.symbol}
    about = {"started_at": _utc(started_s), "target": target}
    if options.keep:
        recording_file.save(options.keep, recording, {**about, "own": own, "left_open_shares": left_open_shares})
    summary = {**about, **summarize([Round(recording, left_open_shares, own)])}
    title = f"{options.host}:{options.port}, {options.rate:,.0f} orders a second, {_utc(started_s)}"
    return report(summary, title, options.json, options.html)


def _cpus_of(group: str) -> list[int]:
    if not group:
        return []
    try:
        return find_group(group)[2]
    except OSError as error:
        raise BenchError(str(error)) from error


def report(summary: Summary, title: str, json_file: Path | None, html_file: Path | None) -> int:
    """Print the summary of a run as a table, write it to the given files as JSON and HTML, and return the exit code.

    Raises BenchError when a file cannot be written.
    """
    print(table(summary))
    if json_file:
        _write(json_file, json.dumps(summary, indent=2) + "\n")
    if html_file:
        _write(html_file, html_report.render(summary, title))
    return 3 if summary["interrupted"] else 0


def _utc(time_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
