# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsers for the output of systemctl, journalctl, ss, tc, ethtool, nft and chronyc, for the module host_readings_info.

For missing or malformed output they return an empty value.
"""

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
    """Return the properties of a unit, from the output of `systemctl show`.

    The keys are shorter than systemd's names, such as "active" and "pid".
    """
    found: dict[str, Any] = {}
    for line in text.splitlines():
        name, _equals, value = line.partition("=")
        if name in _UNIT_PROPERTIES:
            number = _UNIT_PROPERTIES[name] in ("status", "restarts", "pid")
            found[_UNIT_PROPERTIES[name]] = int(value or 0) if number else value
    return found


def newest_runs(text: str, most: int) -> list[str]:
    """Return the invocation ids of a unit's last `most` runs, the newest first, from `journalctl -o json`."""
    found: list[str] = []
    for line in reversed(text.splitlines()):
        entry = _parsed(line, dict)
        # Messages of systemd about a unit have the id in another field than messages of the unit's own processes.
        run = entry.get("INVOCATION_ID") or entry.get("_SYSTEMD_INVOCATION_ID")
        if isinstance(run, str) and run not in found:
            found.append(run)
    return found[:most]


def listeners(text: str) -> dict[str, list[dict[str, Any]]]:
    """Return a dictionary: port → its listening processes with address, name and pid, from `ss -Hltnp`."""
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
    """Return a dictionary: interface → the queueing discipline that delays its packets, such as netem.

    The input is the output of `tc -j qdisc show`.
    """
    held = ("netem", "tbf")
    found = {}
    for each in _parsed(text, list):
        if isinstance(each, dict) and each.get("kind") in held:
            options = each.get("options") or {}
            found[str(each.get("dev"))] = f"{each['kind']} {json.dumps(options, sort_keys=True)}"
    return found


def allowances(text: str) -> dict[str, int]:
    """Return a dictionary: limit of the network → how often the instance exceeded it.

    The input is the output of `ethtool -S` for an ENA interface, AWS's network card. AWS calls such a limit an
    allowance.
    """
    found = {}
    for line in text.splitlines():
        name, _colon, value = line.strip().partition(":")
        if name.endswith("_allowance_exceeded") and value.strip().isdigit():
            found[name] = int(value)
    return found


def refused(text: str) -> dict[str, int]:
    """Return a dictionary: reason → number of packets that the firewall refused for it.

    The input is the output of `nft -j list counters table inet trading`.
    """
    entries = _parsed(text, dict).get("nftables", [])
    counters = [entry["counter"] for entry in entries if isinstance(entry, dict) and "counter" in entry]
    return {str(counter["name"]): int(counter["packets"]) for counter in counters}


def clock(text: str) -> dict[str, Any]:
    """Return the state of the clock: its source, offset and dispersion in seconds, and whether it is synchronised.

    The input is the output of `chronyc -c -n tracking`.
    """
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
    """Return the JSON object that a program printed, or an empty dictionary for other output."""
    found: dict[str, Any] = _parsed(text, dict)
    return found


def _parsed(text: str, kind: type) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return kind()
    return found if isinstance(found, kind) else kind()
