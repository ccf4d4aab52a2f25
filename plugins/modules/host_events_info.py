#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that lists logins on a host, and what the people who logged in did there.

It reads systemd's journal.
"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_events_info
short_description: List who logged in on a host, commanded its engine, and deployed
version_added: 0.2.0
description:
  - Read logins, refused logins, commands by sudo, commands to the engine, and activated releases from systemd's
    journal.
  - Count equal events of one hour as one event, such as the many commands of one run of Ansible.
  - Change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  days:
    description: The number of days to look back.
    type: int
    default: 7
  lines:
    description: The largest number of lines that are read from the journal. The newest lines are read.
    type: int
    default: 100000
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: List who did what on the host in the last week
  lowlatency.trading.host_events_info:
    days: 7
  register: host
"""

RETURN = r"""
events:
  description: The events, the oldest first.
  type: list
  elements: dict
  returned: success
  sample: [{"time": "2026-11-30T04:00:00Z", "kind": "login", "who": "anna", "what": "from 198.51.100.7", "count": 1}]
notes:
  description: Notes on events that the list may lack.
  type: list
  elements: str
  returned: success
"""

import datetime
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

Event = dict[str, Any]

_LONGEST = 200
_MATCHES = [
    *("SYSLOG_IDENTIFIER=sshd", "+", "SYSLOG_IDENTIFIER=sshd-session", "+", "SYSLOG_IDENTIFIER=sudo", "+"),
    *("SYSLOG_IDENTIFIER=trading-release", "+", "_SYSTEMD_UNIT=trading-engine.service"),
]
_ACCEPTED = re.compile(r"Accepted (?P<how>\S+) for (?P<who>.*?) from (?P<where>\S+) port \d+.*?(?P<key>SHA256:\S+)?$")
_REFUSED = [
    re.compile(r"(?:Failed \S+ for (?:invalid user )?|Invalid user )(?P<who>.*?) from (?P<where>\S+)"),
    re.compile(r"User (?P<who>.*?) from (?P<where>\S+) not allowed"),
    re.compile(r"Connection (?:closed|reset) by authenticating user (?P<who>.*?) (?P<where>\S+) port \d+ \[preauth\]"),
]
_SUDO = re.compile(r"\s*(?P<who>\S+) : .*?USER=(?P<as>\S+) ; (?:.*; )?COMMAND=(?P<command>.*)$")
_ADMIN = re.compile(r"trading-engine: admin: (?P<who>.+?) \((?P<role>[a-z ]+)\): (?P<what>.*)$")
_RELEASE = re.compile(r"(?P<what>.*), by (?P<who>\S+)$")


def told(entry: dict[str, Any]) -> tuple[str, str, str] | None:
    """Return (kind, person, action) of one journal entry, or None for an entry that is not about people.

    Any process may log under any name. So only the fields that journald itself adds are trusted. Their names begin with
    an underscore.
    """
    identifier, message, is_roots = entry.get("SYSLOG_IDENTIFIER"), entry.get("MESSAGE"), entry.get("_UID") == "0"
    if not isinstance(message, str):  # journald returns a list for bytes that are not text
        return None
    if identifier in ("sshd", "sshd-session") and is_roots:
        return _of_ssh(message)
    # sudo logs as the user until it has become root, so its program counts as well.
    if identifier == "sudo" and (is_roots or entry.get("_EXE") == "/usr/bin/sudo") and (found := _SUDO.match(message)):
        is_ansible = "BECOME-SUCCESS-" in found["command"]
        return "sudo", found["who"], f"as {found['as']}: {'commands of Ansible' if is_ansible else found['command']}"
    if identifier == "trading-release" and is_roots and (found := _RELEASE.match(message)):
        return "release", found["who"], found["what"]
    if entry.get("_SYSTEMD_UNIT") == "trading-engine.service" and (found := _ADMIN.match(message)):
        return "admin", f"{found['who']} ({found['role']})", found["what"]
    return None


def _of_ssh(message: str) -> tuple[str, str, str] | None:
    if found := _ACCEPTED.match(message):
        return "login", found["who"], f"from {found['where']} by {found['how']} {found['key'] or ''}".strip()
    for pattern in _REFUSED:
        if found := pattern.match(message):
            return "refused login", found["who"], f"from {found['where']}"
    return None


def shown(text: str) -> str:
    """Return an untrusted text as one line without control characters, cut after 200 characters."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= _LONGEST else f"{printable[:_LONGEST]}..."


def lines(journal: str) -> Iterator[Event]:
    """Yield an event for each line of journalctl's JSON output that is about people."""
    for line in journal.splitlines():
        try:
            entry = json.loads(line)
            at_s = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, KeyError, TypeError):
            continue
        if found := told(entry):
            kind, who, what = found
            moment = datetime.datetime.fromtimestamp(at_s, datetime.timezone.utc)
            time = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
            yield {"time": time, "kind": kind, "who": shown(who), "what": shown(what), "count": 1}


def merged(events: Iterable[Event]) -> list[Event]:
    """Return the events in order of time, with equal events of the same hour merged into one event.

    A merged event has the time of its first event, and as ``count`` the number of its events.
    """
    by_likeness: dict[tuple[str, ...], Event] = {}
    for event in sorted(events, key=lambda event: str(event["time"])):
        likeness = (event["time"][:13], event["kind"], event["who"], event["what"])
        if likeness in by_likeness:
            by_likeness[likeness]["count"] += 1
        else:
            by_likeness[likeness] = dict(event)
    return list(by_likeness.values())


def observe(module: AnsibleModule) -> tuple[list[Event], list[str]]:
    """Return the merged events, and notes that say why events of the requested days may be missing."""
    days, most = module.params["days"], module.params["lines"]
    read = ["journalctl", "--quiet", "--output=json"]
    wanted = [*read, f"--since=-{days}d", f"--lines={most}", *_MATCHES]
    _code, journal, _error = outside.run(module, wanted, check_rc=True)
    _code, earlier, _error = outside.run(module, [*read, f"--until=-{days}d", "--lines=1"])
    notes = []
    if len(journal.splitlines()) >= most:
        notes.append(f"the journal has more than {most} lines of these {days} days, of which the newest were read")
    if not earlier.strip():
        notes.append(f"the journal does not go back {days} days: the host is younger, or has dropped what was before")
    return merged(lines(journal)), notes


def main() -> None:
    """Read the events and report them."""
    module = AnsibleModule(
        argument_spec={"days": {"type": "int", "default": 7}, "lines": {"type": "int", "default": 100_000}},
        supports_check_mode=True,
    )
    events, notes = observe(module)
    module.exit_json(changed=False, events=outside.printable(events), notes=notes)


if __name__ == "__main__":
    main()
