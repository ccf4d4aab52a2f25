# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that plan changes of kernel boot arguments, for the module kernel_cmdline.

They find out which arguments this collection has set, which to add and to remove, and which wait for the next boot.
Source: Documentation/admin-guide/kernel-parameters.rst.
"""

from __future__ import annotations

import dataclasses
import re

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

# An argument of these characters is one plain word in a shell and in GRUB's own language.
_ARGUMENT = re.compile(r"[A-Za-z0-9_.-]+(=[A-Za-z0-9_.,:/+@-]+)?")


def check(arguments: list[str]) -> None:
    """Raise TuningError for an argument that is not one plain word, or whose name occurs twice."""
    for argument in arguments:
        if not _ARGUMENT.fullmatch(argument):
            raise TuningError(f"boot argument '{argument}' is not a word such as skew_tick=1")
    keys = [key(argument) for argument in arguments]
    for name in keys:
        if keys.count(name) > 1:
            raise TuningError(f"boot argument '{name}' is asked for twice")


def key(argument: str) -> str:
    """Return the argument's name, which ends before the equals sign. Dashes become underscores, as in the kernel."""
    return argument.partition("=")[0].replace("-", "_")


@dataclasses.dataclass(frozen=True)
class Ours:
    """The record of this collection's changes to the boot arguments of a host.

    It has the arguments that the collection added, and the host's own arguments that these replaced. `boot` is the
    kernel's id of the boot during which the arguments were last changed. It is empty when that id was not recorded.
    """

    added: list[str]
    replaced: list[str]
    boot: str = ""


@dataclasses.dataclass(frozen=True)
class Change:
    """The arguments to add, the arguments to remove, and the record (`Ours`) to store after the change."""

    add: list[str]
    remove: list[str]
    ours: Ours


def plan(current: list[str], wanted: list[str], ours: Ours) -> Change:
    """Return the change after which `wanted` are this collection's only arguments among `current`.

    The host's own arguments stay, unless a wanted argument has the same name and another value. Such an argument is
    replaced now, and restored when its name is no longer wanted.
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
    """Return the arguments that this collection has set and the running kernel lacks.

    An argument counts only if the host has booted since it was set.
    """
    if not boot or ours.boot in ("", boot):
        return []
    return [argument[1:] for argument in awaiting if argument.startswith("+") and argument[1:] in ours.added]


def awaiting_boot(running: list[str], wanted: list[str], removed: list[str]) -> list[str]:
    """Return the changes that the next boot brings: "+name" for an added argument, "-name" for a removed one."""
    to_come = [f"+{argument}" for argument in wanted if argument not in running]
    return to_come + [f"-{argument}" for argument in removed if argument in running and argument not in wanted]
