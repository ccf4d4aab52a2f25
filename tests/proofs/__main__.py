"""The command line of scripts/prove. It runs one proof, and prints the path of the record that the proof wrote."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.proofs import (
    account,
    bootstrap,
    demo,
    deploy,
    determinism,
    diagnosis,
    durability,
    failed_sync,
    false_verdicts,
    fleet,
    fuzz,
    graviton,
    groups,
    http,
    interrupted,
    market,
    null,
    operations,
    readiness,
    reload,
    security,
    tests,
    witness,
)

PROOFS: dict[str, tuple[Callable[[int], Path], int, str]] = {
    "account": (account.prove, 1, "pairs of a killed and a whole acceptance run"),
    "bootstrap": (bootstrap.prove, len(bootstrap.CASES), "hosts that make themselves, all but the first interrupted"),
    "demo": (demo.prove, 25, "runs of scripts/demo, the last fifth on a busy machine"),
    "demo-local": (demo.prove_local, 25, "runs of scripts/demo --no-machine, the last fifth on a busy machine"),
    "witness": (witness.prove, 12, "pairs of each case"),
    "deploy": (deploy.prove, 8, "upgrades under load, then each planted fault"),
    "durability": (durability.prove, len(durability.CASES), "deaths"),
    "determinism": (determinism.prove, 10_000_000, "messages"),
    "diagnosis": (diagnosis.prove, 1, "hosts, on each of which every fault is planted"),
    "failed-sync": (failed_sync.prove, len(failed_sync.CASES), "syncs that fail on a real device"),
    "false-verdicts": (false_verdicts.prove, 5, "verdicts of a hog, and as many of a slow link"),
    "fleet": (fleet.prove, 1, "hosts with two partitions"),
    "fuzz": (fuzz.prove, 10_000_000, "frames"),
    "graviton": (graviton.prove, 2, "self-checks of the emulated host"),
    "groups": (groups.prove, 1, "rounds of a group that is launched, killed, replaced and refreshed"),
    "http": (http.prove, 60, "minutes"),
    "market": (market.prove, 1_000_000, "messages"),
    "operations": (operations.prove, 1_000_000, "orders that are journaled before the drill"),
    "null": (null.prove, 40, "comparisons"),
    "readiness": (readiness.prove, 1, "hosts, spoiled in every line of the checklist, and repaired"),
    "reload": (reload.prove, 1_000_000, "open orders"),
    "security": (security.prove, 1, "hosts, looked at from outside and inside"),
    "tests": (tests.prove, 1, "runs of the tests that take too long for scripts/test"),
    "interrupted": (interrupted.prove, 1000, "kills, of those that there can be"),
}


def main() -> int:
    """Run the proof. Return the exit status: 0 when it succeeded, and 1 when it failed."""
    parser = argparse.ArgumentParser(prog="scripts/prove", description="Gather evidence in a long, resumable run.")
    parser.add_argument("name", choices=PROOFS, metavar="NAME", help=f"one of {', '.join(PROOFS)}")
    parser.add_argument("--count", type=int, help="how many steps (a full proof without it)")
    options = parser.parse_args()
    prove, full, _ = PROOFS[options.name]
    try:
        path = prove(options.count or full)
    except AssertionError as error:
        print(f"{options.name}: DISPROVED: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
