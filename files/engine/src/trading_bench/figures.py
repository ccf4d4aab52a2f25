"""Command line of `trading-figures`, which computes the figures of one or more recorded runs of `trading-bench`.

It is used if the engine runs on another host, whose record of disturbances is available only after the run.
"""

import argparse
import json
import sys
from pathlib import Path

from trading_bench import html_report, recording_file
from trading_bench.__main__ import report
from trading_bench.connection import BenchError
from trading_bench.machine import Record
from trading_bench.summary import Round, summarize


def _record(path: Path) -> Record:
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise BenchError(f"{path} is no record of trading-witness: {error}") from error
    return record


def main(argv: list[str] | None = None) -> int:
    """Print the figures of the recorded runs, and write them to the given files.

    Return an exit code as `trading-bench` does.
    """
    arguments = argparse.ArgumentParser(
        prog="trading-figures", description="Make figures of the runs that trading-bench kept (--keep), taken together."
    )
    arguments.add_argument(
        "--run",
        nargs="+",
        action="append",
        required=True,
        type=Path,
        metavar="FILE",
        help="file of a run, and of what trading-witness saw on the engine's host meanwhile; may be given again",
    )
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON")
    arguments.add_argument("--html", type=Path, metavar="FILE", help="write a report with drawings")
    options = arguments.parse_args(argv)
    try:
        rounds = []
        for kept, *records in options.run:
            recording, about = recording_file.load(kept)
            engine_host = _record(records[0]) if records else None
            rounds.append(Round(recording, about["left_open_shares"], about["own"], engine_host, about))
        about = rounds[0].about
        summary = {"started_at": about["started_at"], "target": about["target"], **summarize(rounds)}
        summary["drawings"] = html_report.drawings(summary)
        where = f"{about['target']['host']}:{about['target']['port']}"
        title = f"{where}, {summary['offered_rate_per_s']:,.0f} orders a second, {about['started_at']}"
        return report(summary, title, options.json, options.html)
    except BenchError as error:
        print(f"trading-figures: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
