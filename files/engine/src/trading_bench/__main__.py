"""Command line of `trading-bench`."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from trading_bench import html_report
from trading_bench.connection import BenchError, connect, read_password
from trading_bench.flow import MAX_SLOTS, Flow
from trading_bench.generator import Generator, Recording
from trading_bench.summary import summarize, table

EPILOG = """\
exit codes:
  0  the run was measured; whether the figures are good enough is for the reader to say
  1  the run could not start or was broken off: connection refused, login rejected, connection lost
  2  a wrong option
  3  the run is void: the generator itself was late, or the run was interrupted; no verdict can be drawn from it
"""


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
    started_s = time.time()
    connection, splitter = connect(options.host, options.port, options.account, read_password(options.password_file))
    generator = Generator(connection, splitter, Flow(options.symbol, options.price), recording)
    generator.run(lambda: bool(interrupts))
    left_open_shares = generator.cancel_all()
    generator.log_out()
    target = {"host": options.host, "port": options.port, "account": options.account, "symbol": options.symbol}
    summary = {"started_at": _utc(started_s), "target": target, **summarize(recording, left_open_shares)}
    print(table(summary))
    title = f"{options.host}:{options.port}, {options.rate:,.0f} orders a second, {_utc(started_s)}"
    if options.json:
        _write(options.json, json.dumps(summary, indent=2) + "\n")
    if options.html:
        _write(options.html, html_report.render(summary, title))
    return 3 if summary["void"] else 0


def _utc(time_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
