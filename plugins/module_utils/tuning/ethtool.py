# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions and a class that read and write a network card's settings by the program ethtool, for nic_settings."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.kernelfs import RefusedError

# A function that runs a command and returns its exit status, standard output and standard error.
Run = Callable[[list[str]], tuple[int, str, str]]

SHOW = {"coalesce": "-c", "ring": "-g"}
SET = {"coalesce": "-C", "ring": "-G"}


def parse_coalesce(text: str) -> dict[str, str]:
    """Return the settings for interrupt moderation that `ethtool -c` lists. Settings marked n/a are left out.

    The two settings of adaptive moderation share one line: "Adaptive RX: on  TX: off".
    """
    values = dict(re.findall(r"^([a-z-]+):\s+(\d+)\s*$", text, re.MULTILINE))
    adaptive = re.search(r"^Adaptive RX:\s+(\S+)\s+TX:\s+(\S+)", text, re.MULTILINE)
    if adaptive:
        values.update({"adaptive-rx": adaptive[1], "adaptive-tx": adaptive[2]})
    return {name: value for name, value in values.items() if value != "n/a"}


def parse_ring(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the largest ring sizes and the current ring sizes that `ethtool -g` lists.

    Both are dictionaries with lower-case names as keys. Sizes marked n/a are left out.
    """
    maximums, _heading, current = text.partition("Current hardware settings:")
    return _sizes(maximums), _sizes(current)


def _sizes(text: str) -> dict[str, str]:
    return {
        name.lower().replace(" ", "-"): size
        for name, size in re.findall(r"^(\w[\w ]*):\s+(\d+)\s*$", text, re.MULTILINE)
    }


class Ethtool:
    """The settings of all network cards, read and written by the program ethtool.

    The class has the methods of settings.Store.
    """

    def __init__(self, run: Run, program: str) -> None:
        self._run = run
        self.program = program

    def maximum(self, nic: str, ring: str) -> str:
        """Return the largest ring size that the driver allows, or an empty text when it has none."""
        return parse_ring(self._show(nic, "ring"))[0].get(ring, "")

    def permanent_address(self, nic: str) -> str:
        """Return the card's permanent hardware address, or an empty text when it is unknown.

        The current address of a card in a bond differs from its permanent one.
        """
        status, output, _said = self._run([self.program, "-P", nic])
        found = re.search(r"^Permanent address: ((?:[0-9a-f]{2}:){5}[0-9a-f]{2})$", output, re.MULTILINE)
        return found[1] if found and not status and found[1].strip("0:") else ""

    def read(self, path: str) -> str | None:
        nic, group, name = path.split("/")
        text = self._show(nic, group)
        values = parse_coalesce(text) if group == "coalesce" else parse_ring(text)[1]
        return values.get(name)

    def write(self, path: str, value: str) -> None:
        nic, group, name = path.split("/")
        status, output, said = self._run([self.program, SET[group], nic, name, value])
        if status:
            raise RefusedError((said or output).strip().splitlines()[-1] if said or output else f"exit status {status}")

    def refusal(self, path: str) -> str:
        """Return an empty text: whether the driver refuses a value is known only after the value was written."""
        return ""

    def _show(self, nic: str, group: str) -> str:
        status, output, _said = self._run([self.program, SHOW[group], nic])
        return "" if status else output
