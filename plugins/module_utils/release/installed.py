# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that find the releases on a host: the installed ones, the active one, and that of a running process."""

from __future__ import annotations

import json
import os
import syslog
from pathlib import Path
from typing import Any

COMPLETE = ".complete"


class Releases:
    """The directory of releases on this host, and the links to the current and the previous release."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "releases"

    def installed_s(self) -> dict[str, float]:
        """Return a dictionary: release → Unix time in seconds at which its installation was complete."""
        markers = self.directory.glob(f"*/{COMPLETE}")
        return {marker.parent.name: marker.stat().st_mtime for marker in markers if has_python(marker.parent)}

    def record(self, release: str) -> dict[str, Any]:
        """Return the record that the installation of a release wrote, or an empty dictionary without a record.

        Records of older versions lack `compiled` and `reason`.
        """
        try:
            noted = json.loads((self.directory / release / COMPLETE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def linked(self, link: str) -> str:
        """Return the release to which the link `current` or `previous` points, or an empty text without that link."""
        path = self.root / link
        return Path(os.readlink(path)).name if path.is_symlink() else ""

    def link(self, link: str, release: str) -> None:
        fresh = self.root / f".{link}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("releases") / release)
        os.replace(fresh, self.root / link)


def has_python(home: Path) -> bool:
    """Return whether a virtual environment still has its interpreter. An upgrade of the distribution may remove it."""
    return (home / "bin/python").exists()


def release_of(root: Path, process: int) -> str:
    """Return the release whose Python interpreter a process runs.

    Return an empty text when the process has ended, and when it runs no release.
    """
    try:
        interpreter = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return ""
    try:
        return Path(os.fsdecode(interpreter)).relative_to(root / "releases").parts[0]
    except (ValueError, IndexError):
        return ""


def write_down(release: str, before: str, is_rollback: bool) -> None:
    """Write into the system's log who activated a release. playbooks/audit.yml reads this entry."""
    if release != before:
        how = "brought back" if is_rollback else "put in force"
        syslog.openlog("trading-release")
        syslog.syslog(f"release {release} {how} after {before or 'none'}, by {os.environ.get('SUDO_USER') or 'root'}")
