# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel boot arguments: which are ours, what is to be added and taken away, and whether a boot is still to come.

Source: Documentation/admin-guide/kernel-parameters.rst.
"""

from __future__ import annotations

import dataclasses
import re

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

# Nothing that a shell or GRUB's own language would read as more than a word.
_ARGUMENT = re.compile(r"[A-Za-z0-9_.-]+(=[A-Za-z0-9_.,:/+@-]+)?")


def check(arguments: list[str]) -> None:
    """Raise TuningError, naming it, for what is not one plain argument or is there twice."""
    for argument in arguments:
        if not _ARGUMENT.fullmatch(argument):
            raise TuningError(f"boot argument '{argument}' is not a word such as skew_tick=1")
    keys = [key(argument) for argument in arguments]
    for name in keys:
        if keys.count(name) > 1:
            raise TuningError(f"boot argument '{name}' is asked for twice")


def key(argument: str) -> str:
    """Return the name before the equals sign; the kernel takes dashes for underscores."""
    return argument.partition("=")[0].replace("-", "_")


@dataclasses.dataclass(frozen=True)
class Ours:
    """What was done to the boot arguments so far: those added, and those of the host that they replaced.

    `boot` is the boot in which they were last handed to the next one, as the kernel names it; empty when not noted.
    """

    added: list[str]
    replaced: list[str]
    boot: str = ""


@dataclasses.dataclass(frozen=True)
class Change:
    """What to add and to remove, and what is ours afterwards."""

    add: list[str]
    remove: list[str]
    ours: Ours


def plan(current: list[str], wanted: list[str], ours: Ours) -> Change:
    """Return the change that makes `wanted` the only arguments of ours among `current`.

    The host's own arguments stay, but for those with a wanted name and another value: they are replaced, and come back.
    """
    wanted_keys = {key(argument) for argument in wanted}
    gone = [argument for argument in ours.added if argument not in wanted]
    back = [argument for argument in ours.replaced if key(argument) not in wanted_keys and argument not in current]
    in_the_way = [
        argument
        for argument in current
        if key(argument) in wanted_keys and argument not in wanted and argument not in ours.added
    ]
    kept = [argument for argument in ours.replaced if key(argument) in wanted_keys]
    return Change(
        add=[argument for argument in wanted if argument not in current] + back,
        remove=[argument for argument in gone if argument in current] + in_the_way,
        ours=Ours(
            added=[argument for argument in wanted if argument in ours.added or argument not in current],
            replaced=kept + [argument for argument in in_the_way if argument not in kept],
        ),
    )


def lost(awaiting: list[str], ours: Ours, boot: str) -> list[str]:
    """Return the arguments that did not come with a boot that should have brought them."""
    if not boot or ours.boot in ("", boot):
        return []
    return [argument[1:] for argument in awaiting if argument.startswith("+") and argument[1:] in ours.added]


def awaiting_boot(running: list[str], wanted: list[str], removed: list[str]) -> list[str]:
    """Return what the next boot will change: "+name" for arguments to come, "-name" for those to go."""
    to_come = [f"+{argument}" for argument in wanted if argument not in running]
    return to_come + [f"-{argument}" for argument in removed if argument in running and argument not in wanted]
