# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classes that set kernel arguments for the next boot: Grub (Debian, Ubuntu) and Grubby (Amazon Linux, Fedora).

Grub writes a drop-in file, and Grubby runs the program grubby. The module kernel_cmdline uses these classes. Sources:
grub-mkconfig(8) and Debian's /usr/sbin/grub-mkconfig, which reads /etc/default/grub.d/*.cfg; grubby(8).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import kernelfs, undo
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.boot_arguments import Change, Ours
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

# A function that runs a command and returns its exit status, standard output and standard error.
Run = Callable[[list[str]], tuple[int, str, str]]

DROP_IN = "/etc/default/grub.d/95-os-tuning.cfg"
GRUB_CONFIGURATION = "/boot/grub/grub.cfg"


class Grub:
    """The boot loader GRUB, whose arguments are set by a drop-in file of this collection that update-grub reads."""

    def __init__(self, root: Path, run: Run, update_grub: str) -> None:
        self._root = root
        self._run = run
        self._update_grub = update_grub
        self._drop_in = kernelfs.under(root, DROP_IN)

    def arguments(self) -> list[str]:
        """Return the arguments of the first menu entry, which the next boot will have; an empty list without an entry.

        Raises TuningError when GRUB's configuration cannot be read.
        """
        text = undo.read_file(kernelfs.under(self._root, GRUB_CONFIGURATION))
        line = re.search(r"^\s*linux\S*\s+\S+(.*)$", text, re.MULTILINE)
        return _words(line[1]) if line else []

    def files(self, ours: Ours) -> tuple[str, str]:
        """Return two texts of the drop-in: the present one, and the one that it should have.

        They may differ although the boot arguments are right, because a run that was killed leaves an old drop-in.
        """
        return undo.read_file(self._drop_in), _drop_in_text(ours) if ours.added else ""

    def apply(self, change: Change) -> None:
        """Write the drop-in and GRUB's menu. If that fails, restore the drop-in and raise TuningError.

        A drop-in that becomes empty is removed only after the menu is written. So the next run recognises a killed run.
        """
        before = undo.read_file(self._drop_in)
        undo.write_file(self._drop_in, _drop_in_text(change.ours))
        status, _output, said = self._run([self._update_grub])
        if status:
            undo.place_file(self._drop_in, before)
            raise TuningError(f"{self._update_grub} failed ({status}): {_last_line(said)}; {DROP_IN} is as it was")
        missing = _missing(change, self.arguments())
        if missing:
            undo.place_file(self._drop_in, before)
            self._run([self._update_grub])
            raise TuningError(
                f"{GRUB_CONFIGURATION} has no {' '.join(missing)} after {self._update_grub}: {self._later_files()} is "
                f"read after {DROP_IN}, and begins GRUB_CMDLINE_LINUX_DEFAULT anew. Have it add to the variable; "
                "nothing was changed"
            )
        if not change.ours.added:
            undo.remove(self._drop_in)

    def _later_files(self) -> str:
        """Return, as text, the names of the drop-ins that are read after this one and set the same variable.

        Return "something" when there are none.
        """
        own = self._drop_in.name
        later = [file for file in sorted(self._drop_in.parent.glob("*.cfg")) if file.name > own]
        setting = [file.name for file in later if "GRUB_CMDLINE_LINUX_DEFAULT=" in undo.read_file(file)]
        return ", ".join(f"{DROP_IN.rpartition('/')[0]}/{name}" for name in setting) or "something"


class Grubby:
    """The boot entries of every installed kernel, whose arguments are set by the program grubby."""

    def __init__(self, run: Run, grubby: str) -> None:
        self._run = run
        self._grubby = grubby

    def arguments(self) -> list[str]:
        """Return the arguments of the default boot entry. Raises TuningError when grubby prints none."""
        status, output, said = self._run([self._grubby, "--info=DEFAULT"])
        line = re.search(r'^args="(.*)"$', output, re.MULTILINE)
        if status or not line:
            raise TuningError(
                f"{self._grubby} --info=DEFAULT: no arguments in its output ({_last_line(said or output)})"
            )
        return _words(line[1])

    def files(self, ours: Ours) -> tuple[str, str]:
        """Return two empty texts, because grubby uses no file of this collection."""
        return "", ""

    def apply(self, change: Change) -> None:
        """Change the boot entry of every kernel.

        Raises TuningError when grubby fails, or when an argument is missing afterwards.
        """
        argv = [self._grubby, "--update-kernel=ALL"]
        if change.remove:
            argv.append("--remove-args=" + " ".join(change.remove))
        if change.add:
            argv.append("--args=" + " ".join(change.add))
        if len(argv) > 2:
            status, _output, said = self._run(argv)
            if status:
                raise TuningError(f"{' '.join(argv)} failed ({status}): {_last_line(said)}")
            missing = _missing(change, self.arguments())
            if missing:
                raise TuningError(f"{' '.join(argv)} succeeded, and the default entry has no {' '.join(missing)}")


def _missing(change: Change, current: list[str]) -> list[str]:
    """Return the arguments to add that are still missing. Return an empty list when no arguments could be read."""
    return [argument for argument in change.add if argument not in current] if current else []


def _words(text: str) -> list[str]:
    """Return the arguments in a line of text. A line with an unclosed quotation mark is split at each blank."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _drop_in_text(ours: Ours) -> str:
    """Return the drop-in's text: shell code that grub-mkconfig runs with /bin/sh.

    It removes the replaced arguments from GRUB's variables, and appends this collection's arguments.
    """
    lines = ["# Written by lowlatency.trading.os_tuning; changes are lost. untune.yml removes this file."]
    for variable in ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"):
        lines += [f"{variable}=$(echo \" ${variable} \" | sed 's| {_sed(word)} | |')" for word in ours.replaced]
    words = " ".join(ours.added)
    return "\n".join([*lines, f'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {words}"\n'])


def _sed(word: str) -> str:
    if "'" in word or "|" in word:
        raise TuningError(
            f"boot argument '{word}' of this host is in the way and cannot be replaced; remove it by hand"
        )
    return re.sub(r"([.*\[\]^$\\])", r"\\\1", word)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
