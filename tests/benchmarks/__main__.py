"""The command line of scripts/bench. It runs benchmarks, prints a table of figures, and writes the figures as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.benchmarks import backup, core, deployment, feed, gateway, security, stress, telemetry, tuning
from tests.benchmarks.figures import Figure, table

BENCHMARKS: dict[str, Callable[[str], Iterator[Figure]]] = {
    "core": core.core,
    "book": core.book,
    "pinned": gateway.pinned,
    "two_cpus": gateway.two_cpus,
    "open_loop": gateway.open_loop,
    "feed": feed.feed,
    "fairness": stress.fairness,
    "scale": core.scale,
    "recovery": core.recovery,
    "resting": gateway.resting,
    "stalled": stress.stalled,
    "overload": stress.overload,
    "flat": stress.flat,
    "telemetry": telemetry.telemetry,
    "preflight": deployment.preflight,
    "deployment": deployment.deployment,
    "tuning": tuning.tuning,
    "passwords": security.passwords,
    "tls": security.tls,
    "firewall": security.firewall,
    "firewall_packets": security.firewall_packets,
    "backup": backup.backup,
}


def main() -> int:
    """Run the benchmarks and return 0. An unknown name ends the program with exit status 2."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure engine, telemetry and deployment.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all when none is given"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    parser.add_argument("--variant", choices=("pure", "compiled", "both"), default="both")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="deployments to take the medians of")
    options = parser.parse_args()
    if options.count < 1:
        parser.error("--count: at least 1 is needed")
    benchmarks: dict[str, Callable[[str], Iterator[Figure]]] = {
        **BENCHMARKS,
        "deployment": partial(deployment.deployment, count=options.count),
    }
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    figures = []
    for name in options.names or BENCHMARKS:
        for variant in ("pure", "compiled") if options.variant == "both" else (options.variant,):
            print(f"{name}, {variant} …", file=sys.stderr, flush=True)
            found = list(benchmarks[name](variant))
            figures += found
            print(table(found), file=sys.stderr, flush=True)
    print(table(figures))
    if options.json:
        context = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "load_average": os.getloadavg(),
        }
        report = {**context, "figures": [figure.as_json() for figure in figures]}
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
