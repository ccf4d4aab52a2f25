"""Functions that run programs of this computer, such as ip and nft, and turn a failure into one readable error."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from embedded_ec2.errors import SandboxError


def run(*argv: str, input_text: str | None = None) -> str:
    """Run a command and return its standard output.

    Raises SandboxError with the command and its error output, when it fails or is not installed.
    """
    try:
        done = subprocess.run(argv, input=input_text, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise SandboxError(f"{argv[0]} is not installed; install the package that has it") from None
    if done.returncode:
        raise SandboxError(f"{' '.join(argv)} failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout


def succeeds(*argv: str, statuses: tuple[int, ...] = (0,)) -> bool:
    """Run a command and return whether its exit code is one of `statuses`."""
    return subprocess.run(argv, capture_output=True, check=False).returncode in statuses


def ip_json(*argv: str) -> list[dict[str, Any]]:
    """Return the rows that `ip -json …` prints, without empty rows. Raises SandboxError when the command fails."""
    rows: list[dict[str, Any]] = json.loads(run("ip", "-json", *argv) or "[]")
    return [row for row in rows if row]


def in_netns(netns: str, argv: Sequence[str]) -> list[str]:
    return ["ip", "netns", "exec", netns, *argv]
