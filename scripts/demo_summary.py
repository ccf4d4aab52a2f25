"""Print the result of scripts/demo: the SLO table, the host's addresses, how to log in, and next steps.

demo_summary.py REPORTS LOG HEADER   print all of it. Standard input is the output of `scripts/sandbox status --json`.
                                     HEADER is the file with the HTTP header that has telemetry's token; it is empty
                                     without a token.
demo_summary.py --table REPORTS      print only the SLO table
demo_summary.py --host               print the instance id and USER@ADDRESS of the first host in standard input
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WIDTH = 79
COLUMNS = {"name": "promise", "target": "target", "measured": "measured", "verdict": "verdict"}
PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def read_reports(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(directory.glob("*.json"))]


def promises(report: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one host's table of targets.

    Then yield lines that say which targets were missed or not measured, and why.
    """
    rows = _services_in_one(report["verdict"])
    widths = {key: max(len(row[key]) for row in [COLUMNS, *rows]) for key in COLUMNS}
    for row in [COLUMNS, *rows]:
        cells = {**row, "verdict": row["verdict"].upper() if _is_bad(row) else row["verdict"]}
        yield ("  " + "  ".join(f"{cells[key]:<{width}}" for key, width in widths.items())).rstrip()
    for verdict in dict.fromkeys(row["verdict"] for row in rows if _is_bad(row)):
        names = ", ".join(row["name"] for row in rows if row["verdict"] == verdict)
        notes = list(dict.fromkeys(row["note"] for row in rows if row["verdict"] == verdict and row.get("note")))
        yield from _wrapped("; ".join([f"{verdict.upper()}: {names}", *notes]))
    bad_notes = {row.get("note") for row in rows if _is_bad(row)}
    for note in dict.fromkeys(row["note"] for row in rows if row["name"] != "cpu" and row.get("note")):
        if note not in bad_notes:
            yield from _wrapped(f"({note})")
    if not any(_is_bad(row) for row in rows):
        yield "  Every promise is kept."


def _services_in_one(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows of the table. If all services met their target, one row replaces the rows of services.

    So the table stays short.
    """
    services = [row for row in rows if row["name"].endswith(".service")]
    if not services or any(row["verdict"] != "met" for row in services):
        return rows
    return [{**services[0], "name": f"{len(services)} services"}, *(row for row in rows if row not in services)]


def _is_bad(row: dict[str, str]) -> bool:
    return row["verdict"] in ("missed", "not measured")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def running_hosts(status: dict[str, Any]) -> list[dict[str, str]]:
    return [row for row in status["instances"] if row["state"] == "running" and row["name"]]


def addresses(host: dict[str, str], header: Path) -> Iterator[str]:
    address = host["private_address"]
    token = header.read_text(encoding="ascii").split()[-1:]
    # Browsers do not send the part of a URL after #. A token in the query would be in the logs of proxies.
    login = f"#token={token[0]}" if token else ""
    # curl reads the token from a file, because its arguments are visible in the list of processes.
    asked = f"-H @{_here(header)} " if token else ""
    # With a proxy in its environment curl would use it, but only this computer can reach the machine.
    curl = "curl --noproxy '*'" if any(os.environ.get(name) for name in PROXIES) else "curl"
    yield f"  live page      http://{address}:8000/{login}"
    yield f"  numbers        {curl} {asked}http://{address}:8000/latest"
    yield f"  order entry    {address}:9001  (OUCH 4.2 over SoupBinTCP)"
    yield f"  market data    {address}:9002  (ITCH 5.0 over SoupBinTCP)"


def summary(reports: Path, log: Path, header: Path, status: dict[str, Any]) -> Iterator[str]:
    found = {report["host"]: report for report in read_reports(reports)}
    for host in running_hosts(status):
        if host["name"] not in found:  # it belongs to another deployment
            continue
        yield f"\n{host['name']}"
        yield from promises(found[host["name"]])
        yield ""
        yield from addresses(host, header)
        yield "  log in         scripts/demo ssh"
    yield "\nTry next"
    yield "  scripts/demo play playbooks/verify.yml     load again: watch the page"
    yield "  scripts/demo play playbooks/diagnose.yml   ask the host how it is"
    yield "  scripts/demo down                          take all of it back"
    yield f"\nReports (HTML, JSON): {_here(reports)}/   Logs, a file a step: {_here(log)}/"


def _here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main(arguments: list[str]) -> int:
    match arguments:
        case ["--host"]:
            hosts = running_hosts(json.load(sys.stdin))
            if not hosts:
                raise SystemExit("error: no machine is running; scripts/demo makes one")
            print(hosts[0]["instance_id"], f"debian@{hosts[0]['private_address']}")
        case ["--table", reports]:
            for report in read_reports(Path(reports)):
                print("\n".join(promises(report)))
        case [reports, log, header]:
            print("\n".join(summary(Path(reports), Path(log), Path(header), json.load(sys.stdin))))
        case _:
            raise SystemExit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
