"""Find known vulnerabilities of the packages in every lock file, by pip-audit. scripts/audit-dependencies runs this.

The merged result lists vulnerabilities, packages that the services do not know, and lock files without an answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# The services to query, in this order. Both have the same advisories. The second is for when the first does not answer.
SERVICES = ("pypi", "osv")


@dataclass
class Findings:
    """The merged results: advisories by package (`name version`), unknown packages, lock files without an answer."""

    asked: set[str] = field(default_factory=set)
    vulnerable: dict[str, list[str]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)

    def add(self, report: dict[str, Any]) -> None:
        """Add the results of a report that pip-audit printed as JSON."""
        for one in report["dependencies"]:
            if "skip_reason" in one:
                self.unknown.setdefault(one["name"], one["skip_reason"])
                continue
            package = f"{one['name']} {one['version']}"
            self.asked.add(package)
            if one["vulns"]:
                self.vulnerable[package] = [advisory(vulnerability) for vulnerability in one["vulns"]]

    def lines(self) -> list[str]:
        """Return the lines to print. The last line has the number of packages, and how many of them are vulnerable."""
        said = [f"{package}: {text}" for package, texts in sorted(self.vulnerable.items()) for text in texts]
        said += [f"not known: {name}: {why}" for name, why in sorted(self.unknown.items())]
        said += [f"warning: no advisory service answered for {name}" for name in self.unanswered]
        return [*said, f"{len(self.asked)} packages, {len(self.vulnerable)} of them with known vulnerabilities"]


def advisory(vulnerability: dict[str, Any]) -> str:
    """Return a text with an advisory's names and the versions that fix it."""
    names = ", ".join([vulnerability["id"], *vulnerability.get("aliases", ())])
    repaired = ", ".join(vulnerability["fix_versions"]) or "no version yet"
    return f"{names}; repaired in {repaired}"


def ask(lock: Path, service: str) -> dict[str, Any] | None:
    """Ask a service about the packages of a lock file. Return its report, or None when the service does not answer."""
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--requirement", lock, *options, "--vulnerability-service", service],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        print(f"{service}: {(done.stderr.strip().splitlines() or ['no answer'])[-1][:200]}", file=sys.stderr)
        return None
    return report


def audit(locks: list[Path]) -> Findings:
    """Return the merged results for all lock files. For each file the first service that answers is used."""
    findings = Findings()
    for lock in locks:
        name = str(lock.relative_to(ROOT) if lock.is_relative_to(ROOT) else lock)
        print(name, file=sys.stderr)
        reports = (ask(lock, service) for service in SERVICES)
        answer = next((report for report in reports if report is not None and answers(report)), None)
        if answer is None:
            findings.unanswered.append(name)
        else:
            findings.add(answer)
    return findings


def answers(report: dict[str, Any]) -> bool:
    """Return whether a report has a result for at least one package."""
    return any("skip_reason" not in one for one in report["dependencies"])


def pinned() -> list[Path]:
    """Return the paths of all lock files that git knows in this checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "*requirements*.lock"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split()]


def main(arguments: list[str]) -> int:
    locks = [Path(argument).resolve() for argument in arguments]
    findings = audit(locks or pinned())
    print("\n".join(findings.lines()))
    return 1 if findings.vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
