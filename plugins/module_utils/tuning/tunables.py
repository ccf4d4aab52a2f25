# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that select the settings for a host from the list of tunables, for the module kernel_tunables.

A tunable is a kernel value with conditions, such as a least number of CPUs. Its value may depend on the memory.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from pathlib import Path
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import kernelfs, topology
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.settings import Outcome, Setting


@dataclasses.dataclass(frozen=True)
class Host:
    """The facts about a host on which the conditions and values of tunables depend."""

    cpus: int
    ram_kib: int

    @classmethod
    def of(cls, root: Path) -> Host:
        """Return the facts about the host whose files are below a root directory.

        Raises TuningError when /sys or /proc lack them.
        """
        return cls(len(topology.usable_cpus(root)), topology.ram_kib(root))


def gate(
    tunables: list[dict[str, Any]], veto: list[str], never: list[dict[str, Any]], host: Host
) -> tuple[list[Setting], list[Outcome]]:
    """Return two lists: the settings to apply, and an outcome with a reason for each tunable that is not applied.

    A tunable is not applied in three cases: `never` forbids its value, `veto` names it, or the host has too few CPUs.
    Raises TuningError for an invalid tunable.
    """
    wanted: list[Setting] = []
    out: list[Outcome] = []
    for tunable in {entry["name"]: entry for entry in tunables}.values():
        name, value = tunable["name"], value_of(tunable, host.ram_kib)
        path = kernelfs.path_of(name)
        reason = refusal(name, value, never)
        if reason:
            out.append(Outcome(name, "refused", value, reason=reason))
        elif name in veto:
            out.append(Outcome(name, "not_applicable", value, reason="vetoed"))
        elif host.cpus < tunable["min_cpus"]:
            reason = f"needs {tunable['min_cpus']} CPUs, this host has {host.cpus}"
            out.append(Outcome(name, "not_applicable", value, reason=reason))
        else:
            wanted.append(Setting(name, path, value, tunable["only_raise"]))
    return wanted, out


def refusal(name: str, value: str, never: list[dict[str, Any]]) -> str:
    """Return the reason why `never` forbids this value, or an empty text."""
    for entry in never:
        if fnmatch.fnmatchcase(name, entry["name"]) and entry["value"] in (None, value):
            return str(entry["reason"])
    return ""


def value_of(tunable: dict[str, Any], ram_kib: int) -> str:
    """Return a tunable's value as text. If it is a share of the host's memory, compute it.

    Raises TuningError for an invalid value or share.
    """
    if tunable["value"] is not None:
        value = str(tunable["value"])
        if "\n" in value or not value.strip():
            raise TuningError(f"tunable '{tunable['name']}': the value must be one line and not empty")
        return value
    percent = tunable["percent_of_ram"]
    if not 0 < percent <= 50:
        raise TuningError(f"tunable '{tunable['name']}': percent_of_ram is {percent}, allowed is more than 0 up to 50")
    mib = int(ram_kib * percent / 100 / 1024)
    mib = max(mib, tunable["minimum_mib"] or 1)
    mib = min(mib, tunable["maximum_mib"] or mib)
    return str(mib * 1024 * (1 if tunable["unit"] == "kibibytes" else 1024))
