# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis rules for units that do not start or do not stay up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.lowlatency.trading.plugins.module_utils.diagnosis.causes import (
    CONNECT,
    DEPLOYMENT,
    ENGINE,
    LATENCY,
    PUBLISHER,
    SERVICES,
    START,
    Cause,
    Readings,
    logged,
)


def _full(readings: Readings) -> Iterator[Cause]:
    lines = []
    for path, place in readings.get("places", {}).items():
        for kind, what in (("free", "room"), ("free_inodes", "inodes")):
            if place.get(kind, 1) < 0.02:
                lines.append(f"{path}: {place[kind]:.1%} of the {what} is free")
    if lines:
        lines += logged(readings, r"No space left on device")
        yield Cause(
            "a disk is full", (START, DEPLOYMENT, LATENCY), 92, tuple(lines),
            "make room or grow the volume, then start the units; docs/runbooks/disk.md",
        )  # fmt: skip


def _failed_device(readings: Readings) -> Iterator[Cause]:
    lines = [
        f"{path} is mounted read-only" for path, place in readings.get("places", {}).items() if place.get("read_only")
    ]
    lines += [
        line for line in readings.get("kernel_log", []) if re.search(r"I/O error|EXT4-fs error|XFS .*error", line)
    ][-3:]
    lines += logged(readings, r"Input/output error|Read-only file system")
    if lines:
        yield Cause(
            "a disk or its file system has failed", (START, LATENCY), 94, tuple(lines),
            "replace the volume or repair the file system, mount it again, start the engine",
        )  # fmt: skip


def _permissions(readings: Readings) -> Iterator[Cause]:
    denied, files = logged(readings, r"Permission denied"), list(readings.get("files", []))
    if denied or files:
        yield Cause(
            "files have other owners or modes than declared", (START, DEPLOYMENT), 91 if denied else 55,
            (*files[:5], *denied), "find out who changed them; configure.yml sets back what it made",
        )  # fmt: skip


def _taken_port(readings: Readings) -> Iterator[Cause]:
    lines = logged(readings, r"Address already in use|address already in use")
    for name, port in readings.get("wanted_ports", {}).items():
        unit = readings.get("units", {}).get(name, {})
        others = [each for each in readings.get("ports", {}).get(str(port), []) if each["pid"] != unit.get("pid")]
        if others and unit.get("active") != "active":
            lines += [f"{each['process']} ({each['pid']}) listens on {each['address']}:{port}" for each in others]
    if lines:
        yield Cause(
            "another program has the port", (START, CONNECT), 95, tuple(lines),
            "stop that program, or give one of the two another port",
        )  # fmt: skip


def _damaged_journal(readings: Readings) -> Iterator[Cause]:
    lines = logged(readings, r"damaged record|damaged|bytes of an unfinished", (ENGINE,))
    if lines:
        yield Cause(
            "the journal is damaged", (START,), 96, tuple(lines),
            "restore that file from a backup; trading-engine verify DIRECTORY says how far it is good",
        )  # fmt: skip


def _missing_package(readings: Readings) -> Iterator[Cause]:
    lines = logged(readings, r"ModuleNotFoundError|ImportError|No module named", (*SERVICES, PUBLISHER))
    lines += logged(readings, r"(Failed to (execute|locate executable)|status=203/EXEC)")
    if lines:
        yield Cause(
            "the release is not whole", (START, DEPLOYMENT), 95, tuple(lines),
            "run configure.yml, which installs the release anew, or release_rollback.yml",
        )  # fmt: skip


def _stopped(readings: Readings) -> Iterator[Cause]:
    for name in SERVICES:
        unit = readings.get("units", {}).get(name, {})
        if unit.get("load") == "loaded" and unit.get("active") == "inactive":
            masked = unit.get("enabled", "") in ("disabled", "masked")
            lines = [f"{name} is {unit['active']} ({unit.get('sub')}), result {unit.get('result')}"]
            lines += [f"{name} is {unit['enabled']}"] if masked else []
            yield Cause(
                f"{name} is stopped", (CONNECT, START), 85 if name == ENGINE else 75, tuple(lines),
                f"systemctl enable --now {name}" if masked else f"systemctl start {name}",
            )  # fmt: skip


def _failing(readings: Readings) -> Iterator[Cause]:
    for name in (*SERVICES, PUBLISHER):
        unit = readings.get("units", {}).get(name, {})
        if unit.get("active") in ("failed", "activating") and unit.get("log"):
            yield Cause(
                f"{name} does not stay up", (START, DEPLOYMENT, CONNECT), 60,
                (
                    f"{name} is {unit['active']} ({unit.get('result')}), {unit.get('restarts')} restarts",
                    *unit["log"][-2:],
                ),
                f"the last lines of journalctl --unit {name} say why",
            )  # fmt: skip


def _memory(readings: Readings) -> Iterator[Cause]:
    lines = [line for line in readings.get("kernel_log", []) if re.search(r"Out of memory|oom-kill|oom_reaper", line)]
    if lines:
        yield Cause(
            "the kernel ended processes for memory", (START, LATENCY), 78, tuple(lines[-3:]),
            "docs/runbooks/memory.md; a larger type, or fewer programs beside the engine",
        )  # fmt: skip


RULES = (
    _full,
    _failed_device,
    _permissions,
    _taken_port,
    _damaged_journal,
    _missing_package,
    _stopped,
    _failing,
    _memory,
)
