# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that copy the files from which a running engine would recover, for a trial of a new release.

These files are the newest snapshot and the journal's segments after it. Files that the engine no longer writes are
hard-linked and take no space. Only the segment in use is copied.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

NAME = ".trial"
"""The copy's directory, next to the journal because links cannot cross file systems; the engine ignores it."""


class CopyError(Exception):
    """The copy could not be made. The message says why and what to do."""


def files_to_copy(names: list[str]) -> tuple[list[str], list[str]]:
    """Return two lists of file names in a journal directory: the files to link, and the file to copy.

    The second list has the last segment, which the engine may still write.
    """
    segments = sorted(name for name in names if name.endswith(".journal"))
    snapshots = sorted(name for name in names if name.endswith(".snapshot"))
    after = snapshots[-1].partition(".")[0] if snapshots else ""
    kept = [name for name in segments if name.partition(".")[0] >= after]
    return [*snapshots[-1:], *kept[:-1]], kept[-1:]


def make(journal: Path, reserve_bytes: int, budget_bytes: int = 0) -> Path:
    """Make the copy of the engine's files, and return the copy's directory.

    Some disk space must stay free: the reserve, one segment that the engine may begin meanwhile, and 5 % of the budget.
    With less free space the engine would take no orders. Raises CopyError when less would be free, and OSError when a
    file cannot be copied.
    """
    copy = journal / NAME
    remove(journal)
    for attempt in range(10):
        linked, copied = files_to_copy(os.listdir(journal))
        needed = sum((journal / name).stat().st_size for name in copied)
        free = shutil.disk_usage(journal).free
        kept = reserve_bytes + budget_bytes // 20 + needed
        if free - needed < kept:
            raise CopyError(
                f"{journal}: a copy of the journal's last segment needs {needed >> 20} MiB and has to leave "
                f"{kept >> 20} MiB free, or the engine takes no orders meanwhile, and {free >> 20} MiB are free. Make "
                "room, or a larger volume"
            )
        copy.mkdir(mode=0o700)
        try:
            for name in linked:
                os.link(journal / name, copy / name)
            for name in copied:
                shutil.copyfile(journal / name, copy / name)
        except FileNotFoundError:  # the engine has just deleted a file that it no longer needs
            remove(journal)
            if attempt < 9:
                continue
            raise
        return copy
    raise CopyError(f"{journal}: its files change faster than they are linked")


def remove(journal: Path) -> None:
    """Remove the copy from the journal's directory, even if it is incomplete."""
    shutil.rmtree(journal / NAME, ignore_errors=True)
