# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsers of the output of systemctl, ss, tc, ethtool, nft and chronyc. Missing output gives an empty value."""

from __future__ import annotations

import json
import re
from typing import Any

_UNIT_PROPERTIES = {
    "LoadState": "load",
    "ActiveState": "active",
    "SubState": "sub",
    "Result": "result",
    "ExecMainStatus": "status",
    "NRestarts": "restarts",
    "MainPID": "pid",
    "UnitFileState": "enabled",
    "InvocationID": "run",
}
UNIT_PROPERTIES = ",".join(_UNIT_PROPERTIES)
_PROCESS = re.compile(r'\("((?:[^"\\]|\\.)*)",pid=(\d+)')


def unit(text: str) -> dict[str, Any]:
    """Return the properties of a unit from `systemctl show`."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        name, _equals, value = line.partition("=")
        if name in _UNIT_PROPERTIES:
            number = _UNIT_PROPERTIES[name] in ("status", "restarts", "pid")
            found[_UNIT_PROPERTIES[name]] = int(value or 0) if number else value
    return found


def newest_runs(text: str, most: int) -> list[str]:
    """Return the invocations of a unit that wrote the newest lines, the last one first, from `journalctl -o json`."""
    found: list[str] = []
    for line in reversed(text.splitlines()):
        entry = _parsed(line, dict)
        # What systemd says of a unit has another field than what the unit's processes say.
        run = entry.get("INVOCATION_ID") or entry.get("_SYSTEMD_INVOCATION_ID")
        if isinstance(run, str) and run not in found:
            found.append(run)
    return found[:most]


def listeners(text: str) -> dict[str, list[dict[str, Any]]]:
    """Return port → listening process, from `ss -Hltnp`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4:
            continue
        address, _colon, port = words[3].rpartition(":")
        process = _PROCESS.search(line)
        found.setdefault(port, []).append(
            {
                "address": address,
                "process": process[1] if process else "",
                "pid": int(process[2]) if process else 0,
            }
        )
    return found


def delays(text: str) -> dict[str, str]:
    """Return interface → the queueing discipline that delays its packets on purpose, from `tc -j qdisc show`."""
    held = ("netem", "tbf")
    found = {}
    for each in _parsed(text, list):
        if isinstance(each, dict) and each.get("kind") in held:
            options = each.get("options") or {}
            found[str(each.get("dev"))] = f"{each['kind']} {json.dumps(options, sort_keys=True)}"
    return found


def allowances(text: str) -> dict[str, int]:
    """Return the instance's allowances that were exceeded, from `ethtool -S` of an ENA interface."""
    found = {}
    for line in text.splitlines():
        name, _colon, value = line.strip().partition(":")
        if name.endswith("_allowance_exceeded") and value.strip().isdigit():
            found[name] = int(value)
    return found


def refused(text: str) -> dict[str, int]:
    """Return reason → number of packets that the firewall refused, from `nft -j list counters table inet trading`."""
    entries = _parsed(text, dict).get("nftables", [])
    counters = [entry["counter"] for entry in entries if isinstance(entry, dict) and "counter" in entry]
    return {str(counter["name"]): int(counter["packets"]) for counter in counters}


def clock(text: str) -> dict[str, Any]:
    """Return the system clock's offset from chrony's time, in seconds, as `chronyc -c -n tracking` prints it."""
    fields = text.strip().split(",")
    if len(fields) < 14:
        return {}
    return {
        "source": fields[1] or fields[0],
        "offset_s": float(fields[4]),
        "dispersion_s": float(fields[11]),
        "synchronised": fields[13] != "Not synchronised",
    }


def values(text: str) -> dict[str, Any]:
    """Return the JSON object that a program printed."""
    found: dict[str, Any] = _parsed(text, dict)
    return found


def _parsed(text: str, kind: type) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return kind()
    return found if isinstance(found, kind) else kind()
