# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis rules for high latency: causes that make orders wait."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.lowlatency.trading.plugins.module_utils.diagnosis.causes import (
    CONNECT,
    ENGINE,
    LATENCY,
    Cause,
    Readings,
)


def _hog(readings: Readings) -> Iterator[Cause]:
    engine_cpus = set(readings.get("cpus_of", {}).get(ENGINE, []))
    ours = {unit.get("pid") for unit in readings.get("units", {}).values()}
    everywhere = len(engine_cpus) == len(readings.get("cpus", {}))
    for process in readings.get("processes", []):
        on_ours = process["last_cpu"] in engine_cpus
        if process["cpu"] >= 0.2 and process["pid"] not in ours and (on_ours or everywhere):
            yield Cause(
                "another process takes the engine's CPU", (LATENCY,), 90,
                (
                    f"{process['name']} ({process['pid']}) takes {process['cpu']:.0%} of a CPU, last on CPU "
                    f"{process['last_cpu']}; the engine runs on {', '.join(map(str, sorted(engine_cpus)))}",
                ),
                "stop it, or keep it off that CPU (systemd: CPUAffinity=, nice); docs/runbooks/cpu.md",
            )  # fmt: skip


def _taken_time(readings: Readings) -> Iterator[Cause]:
    for cpu, shares in readings.get("cpus", {}).items():
        if shares.get("steal", 0) >= 0.02:
            yield Cause(
                "the hypervisor takes processor time", (LATENCY,), 80, (f"CPU {cpu}: {shares['steal']:.1%} stolen",),
                "move to another instance or a type without burst credits; docs/verdict.md",
            )  # fmt: skip
        if shares.get("softirq", 0) + shares.get("irq", 0) >= 0.25:
            yield Cause(
                "interrupts take processor time", (LATENCY,), 70,
                (f"CPU {cpu}: {shares.get('softirq', 0) + shares.get('irq', 0):.1%} in interrupts",),
                "look where the interface's interrupts go (/proc/interrupts), and who sends so much",
            )  # fmt: skip


def _delay(readings: Readings) -> Iterator[Cause]:
    for name, link in readings.get("links", {}).items():
        if link.get("delay"):
            yield Cause(
                "packets are held back on purpose", (LATENCY, CONNECT), 92, (f"{name}: {link['delay']}",),
                f"tc qdisc del dev {name} root, once you know who set it",
            )  # fmt: skip
        exceeded = {kind: count for kind, count in link.get("exceeded", {}).items() if count}
        if exceeded:
            yield Cause(
                "the instance's network allowance was exceeded", (LATENCY, CONNECT), 68,
                tuple(f"{name}: {kind} {count}" for kind, count in exceeded.items()),
                "a larger instance type has a larger allowance; the counters run since boot",
            )  # fmt: skip


def _drift(readings: Readings) -> Iterator[Cause]:
    lines = list(readings.get("drift", []))
    wanted = readings.get("tuned_governor")
    odd = [f"CPU {cpu}: {name}" for cpu, name in readings.get("governors", {}).items() if wanted and name != wanted]
    lines += [f"frequency governor of {', '.join(odd)} instead of {wanted}"] if odd else []
    if lines:
        yield Cause(
            "the tuning is not in force", (LATENCY,), 86, tuple(lines[:6]),
            "find out who set them (systemd-analyze cat-config sysctl.d), then configure.yml",
        )  # fmt: skip


def _stalls(readings: Readings) -> Iterator[Cause]:
    engine = readings.get("engine", {})
    counts = {name: count for name, count in engine.get("counters", {}).items() if name.startswith("stalls_") and count}
    if counts:
        longest_ms = engine.get("gauges", {}).get("stall_max_ns", 0) / 1e6
        yield Cause(
            "the engine made others wait", (LATENCY,), 50,
            (
                ", ".join(f"{count} by {name[7:]}" for name, count in sorted(counts.items())) + " since its start",
                f"the longest took {longest_ms:.1f} ms",
            ),
            "write: the disk is slow; gc, snapshot: a larger type; read, timers, publish: another process had the CPU",
        )  # fmt: skip


def _busy_disk(readings: Readings) -> Iterator[Cause]:
    ours = {unit.get("pid") for unit in readings.get("units", {}).values()}
    for process in readings.get("processes", []):
        if process["bytes_per_s"] >= 20 << 20 and process["pid"] not in ours:
            yield Cause(
                "another process keeps the disk busy", (LATENCY,), 66,
                (f"{process['name']} ({process['pid']}) moves {process['bytes_per_s'] / 1e6:.0f} MB/s",),
                "give it less (systemd: IOWeight=), or the journal a volume of its own",
            )  # fmt: skip


RULES = (
    _hog,
    _taken_time,
    _delay,
    _drift,
    _stalls,
    _busy_disk,
)
