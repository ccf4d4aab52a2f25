"""The module host_events_info reads from systemd's journal what people did on a host.

Any user of a host can write entries to the journal. The module ignores entries that such a user could have written.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import host_events_info as module

ROOT = {"_UID": "0"}
SSHD = {"SYSLOG_IDENTIFIER": "sshd", **ROOT}
SUDO = {"SYSLOG_IDENTIFIER": "sudo", "_UID": "1001", "_EXE": "/usr/bin/sudo"}
ENGINE = {"SYSLOG_IDENTIFIER": "trading-engine", "_UID": "990", "_SYSTEMD_UNIT": "trading-engine.service"}
RELEASE = {"SYSLOG_IDENTIFIER": "trading-release", **ROOT}


def journal(*entries: dict[str, Any], at_s: int = 0) -> str:
    lines = [{"__REALTIME_TIMESTAMP": str(1_700_000_000_000_000 + at_s * 1_000_000), **entry} for entry in entries]
    return "\n".join(map(json.dumps, lines))


def told(entry: dict[str, Any], message: object) -> tuple[str, str, str] | None:
    return module.told({**entry, "MESSAGE": message})


@pytest.mark.parametrize(
    ("entry", "message", "expected"),
    [
        (
            SSHD,
            "Accepted publickey for anna from 10.0.0.9 port 4242 ssh2: ED25519 SHA256:abc+/1",
            ("login", "anna", "from 10.0.0.9 by publickey SHA256:abc+/1"),
        ),
        (SSHD, "Accepted password for anna from ::1 port 1 ssh2", ("login", "anna", "from ::1 by password")),
        (SSHD, "Failed none for invalid user bob from 10.0.0.9 port 1 ssh2", ("refused login", "bob", "from 10.0.0.9")),
        (SSHD, "Invalid user a b from 10.0.0.9 port 1", ("refused login", "a b", "from 10.0.0.9")),
        (
            SSHD,
            "User debian from 10.0.0.9 not allowed because not listed in AllowUsers",
            ("refused login", "debian", "from 10.0.0.9"),
        ),
        (
            {**SSHD, "SYSLOG_IDENTIFIER": "sshd-session"},
            "Connection closed by authenticating user bert 10.0.0.9 port 1 [preauth]",
            ("refused login", "bert", "from 10.0.0.9"),
        ),
        (
            SUDO,
            "    anna : TTY=pts/0 ; PWD=/home/anna ; USER=root ; COMMAND=/usr/bin/systemctl stop trading-engine",
            ("sudo", "anna", "as root: /usr/bin/systemctl stop trading-engine"),
        ),
        (
            SUDO,
            "anna : PWD=/home/anna ; USER=root ; COMMAND=/bin/sh -c 'echo BECOME-SUCCESS-x ; python3'",
            ("sudo", "anna", "as root: commands of Ansible"),
        ),
        (ENGINE, "trading-engine: admin: bert (operator): halt X: done", ("admin", "bert (operator)", "halt X: done")),
        (
            ENGINE,
            "trading-engine: admin: dora (no role): kill X: refused, no",
            ("admin", "dora (no role)", "kill X: refused, no"),
        ),
        (
            RELEASE,
            "release abc brought back after def, by anna",
            ("release", "anna", "release abc brought back after def"),
        ),
    ],
)  # fmt: skip
def test_a_line_of_the_journal_tells_who_did_what(
    entry: dict[str, Any], message: str, expected: tuple[str, str, str]
) -> None:
    assert told(entry, message) == expected


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**SSHD, "_UID": "1001"}, "Accepted publickey for root from 10.0.0.9 port 1 ssh2"),
        ({**RELEASE, "_UID": "1001"}, "release abc put in force after def, by anna"),
        ({**SUDO, "_EXE": "/usr/bin/logger"}, "anna : PWD=/ ; USER=root ; COMMAND=/bin/true"),
        ({**ENGINE, "_SYSTEMD_UNIT": "user@1001.service"}, "trading-engine: admin: anna (root): halt TEST: done"),
    ],
)
def test_what_somebody_else_writes_under_that_name_is_not_believed(entry: dict[str, Any], message: str) -> None:
    assert told(entry, message) is None


@pytest.mark.parametrize("message", ["Server listening on 0.0.0.0 port 22.", "", None, [1, 2], 7])
def test_other_lines_tell_nothing(message: object) -> None:
    assert told(SSHD, message) is None


def test_alike_events_of_an_hour_are_one_with_their_number() -> None:
    login = {**SSHD, "MESSAGE": "Failed password for root from 10.0.0.9 port 1 ssh2"}
    text = "\n".join([journal(login, login, at_s=3600), journal(login, login, login), "{", "7", "{}"])
    events = module.merged(module.lines(text))
    assert [(event["time"], event["count"]) for event in events] == [
        ("2023-11-14T22:13:20Z", 3),
        ("2023-11-14T23:13:20Z", 2),
    ]


def test_what_somebody_chose_as_a_name_does_not_move_the_cursor() -> None:
    (event,) = module.lines(journal({**SSHD, "MESSAGE": f"Invalid user \x1b[2J{'x' * 500} from 10.0.0.9 port 1"}))
    assert event["who"].isprintable()
    assert len(event["who"]) < 210
