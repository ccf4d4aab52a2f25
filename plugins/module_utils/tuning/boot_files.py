# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that set kernel values again at boot, and other files that set the same keys.

Sources: sysctl.d(5) for order and precedence, tmpfiles.d(5) for the `w` line.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
from pathlib import Path

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import kernelfs, undo
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

SYSCTL_FILE = "/etc/sysctl.d/95-os-tuning.conf"
# In the order of precedence: of two files with one name, only the one in the earlier directory counts.
SYSCTL_DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
HEADER = "# Written by lowlatency.trading.os_tuning; changes are lost. untune.yml removes this file.\n"


def sysctl_text(values: dict[str, str]) -> str:
    """Return the drop-in's text for values by sysctl key, empty for none."""
    return _text([f"{name} = {value}" for name, value in values.items()])


def tmpfiles_text(values: dict[str, str], may_fail: bool = False) -> str:
    """Return the tmpfiles.d text that writes values by path, which may be a pattern; empty for none.

    `may_fail` lets the boot's service succeed though some path refuses its value.
    """
    kind = "w-" if may_fail else "w"
    return _text([f"{kind} {path} - - - - {value}" for path, value in values.items()])


def _text(lines: list[str]) -> str:
    return HEADER + "".join(f"{line}\n" for line in lines) if lines else ""


# Of a later file: its name, the path or pattern of a key, and the value.
Assignment = tuple[str, str, str]


def overriding(later: list[Assignment], values: dict[str, str]) -> dict[str, str]:
    """Return key → the later file that sets it to another value, and that value."""
    found: dict[str, str] = {}
    by_path = {kernelfs.path_of(name): name for name in values}
    for file, pattern, value in later:
        for path in fnmatch.filter(by_path, pattern):
            name = by_path[path]
            if kernelfs.canonical(path, value) != kernelfs.canonical(path, values[name]):
                found[name] = f"{file} sets {value}"
            else:
                found.pop(name, None)
    return found


def later_assignments(root: Path) -> list[Assignment]:
    """Return the assignments of the files read after ours, in order. Invalid lines are skipped, as at boot.

    Raises TuningError when a file cannot be read.
    """
    found = []
    for file in _later_files(root):
        for key, value in _assignments(file):
            with contextlib.suppress(TuningError):
                found.append((f"/{file.relative_to(root)}", kernelfs.path_of(key), value))
    return found


def _firewalls_file(root: Path) -> list[Path]:
    """Return the file from which ufw sets kernel values at each start, after the boot's files; see ufw(8)."""
    enabled = kernelfs.under(root, "/etc/ufw/ufw.conf"), r"^ENABLED=[\"']?yes"
    named = kernelfs.under(root, "/etc/default/ufw"), r"^IPT_SYSCTL=[\"']?(/[^\"'\s]+)"
    is_enabled, name = (re.search(pattern, undo.read_file(file), re.MULTILINE) for file, pattern in (enabled, named))
    return [kernelfs.under(root, name[1])] if is_enabled and name else []


def _later_files(root: Path) -> list[Path]:
    files: dict[str, Path] = {}
    for directory in SYSCTL_DIRECTORIES:
        for file in sorted(kernelfs.under(root, directory).glob("*.conf")):
            files.setdefault(file.name, file)
    own = SYSCTL_FILE.rpartition("/")[2]
    return [files[name] for name in sorted(files) if name > own] + _firewalls_file(root)


def _assignments(file: Path) -> list[tuple[str, str]]:
    if not file.is_file():  # such as a link to /etc/sysctl.conf, which is not there, or to /dev/null
        return []
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise TuningError(f"{file}: cannot be read ({error.strerror})") from error
    found = []
    for line in lines:
        key, equals, value = line.strip().partition("=")
        name = key.strip().lstrip("-").strip()
        if equals and name and name[0] not in "#;" and ("." in name or "/" in name) and not name.startswith("/"):
            found.append((name, " ".join(value.split())))
    return found
