#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that reads the pending updates of a host, from the package lists that the host already has."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: updates_info
short_description: Read which updates are pending on a host
version_added: 0.2.0
description:
  - Read from apt or dnf which packages have a newer version, and which of these are security updates. Also read whether
    a reboot is needed. The network is not used.
author:
  - lowlatency.trading contributors (@lowlatency)
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read which updates wait
  lowlatency.trading.updates_info:
  register: updates
"""

RETURN = r"""
security:
  description: The packages with a pending security update.
  type: list
  elements: str
  returned: success
others:
  description: The other packages with a pending update.
  type: list
  elements: str
  returned: success
reboot:
  description: Whether an installed update needs a reboot.
  type: bool
  returned: success
age_seconds:
  description: The age of the package lists in seconds; none when they were never read.
  type: float
  returned: success
"""

import os
import re
import time
from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

_APT_LISTS = "/var/lib/apt/lists/*_InRelease"
_APT_READ = ("/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/periodic/update-stamp")
_DNF_LISTS = ("/var/cache/dnf/*/repodata/repomd.xml", "/var/cache/dnf/last_makecache")
_OS_RELEASE = Path("/etc/os-release")
_REBOOT = ("/run/reboot-required", "/var/run/reboot-required")
# A line of apt-get: "Inst libc6 [2.36-9] (2.36-9+deb12u1 Debian-Security:12/stable-security [amd64])".
_INSTALL = re.compile(r"^Inst (\S+) \[[^\]]*\] \((\S+) (.*)\)", re.MULTILINE)
# A line of dnf: "FEDORA-2026-1 Important/Sec. openssl-1:3.2.2-1.amzn2023.aarch64".
_ADVISORY = re.compile(r"^\S+\s+\S*Sec\.\s+(\S+)\s*$", re.MULTILINE)
_AMAZON = re.compile(r'^ID="?amzn"?$', re.MULTILINE)


def of_apt(simulated: str) -> tuple[list[str], list[str]]:
    """Return two lists of the packages that an upgrade by apt-get would install, from the output of a simulation.

    The first list has the security updates, the second all other updates.
    """
    found = {name: "security" in origin.lower() for name, _version, origin in _INSTALL.findall(simulated)}
    return sorted(name for name, is_one in found.items() if is_one), sorted(
        name for name, is_one in found.items() if not is_one
    )


def of_dnf(advisories: str, updates: str) -> tuple[list[str], list[str]]:
    """Return two lists: the packages in dnf's list of security advisories, and all other packages with an update."""
    security = sorted(set(_ADVISORY.findall(advisories)))
    names = sorted({line.split()[0] for line in updates.splitlines() if len(line.split()) == 3})
    return security, [
        name for name in names if not any(one.startswith(f"{name.rpartition('.')[0]}-") for one in security)
    ]


def of_cache(dnf: str, system: str) -> list[str]:
    """Return the beginning of a dnf command that uses only dnf's cache.

    ``system`` is the text of /etc/os-release.
    """
    command = [dnf, "--quiet", "--cacheonly"]
    # Without this option Amazon Linux offers only the packages of the release of its image, not newer ones.
    return [*command, "--releasever=latest"] if _AMAZON.search(system) else command


def asks_for_reboot(answer: str) -> bool:
    """Return whether the output of `dnf needs-restarting` asks for a reboot.

    The exit code is of no use: it is the same when the plugin is not installed.
    """
    return "reboot is required" in answer.lower()


def age_s(paths: Iterable[str], now: float) -> float | None:
    """Return the age in seconds of the newest of the existing files, or None when none exists."""
    times = [os.stat(path).st_mtime for path in paths if os.path.exists(path)]
    return max(0.0, now - max(times)) if times else None


def observe(module: AnsibleModule) -> dict[str, Any]:
    """Return the module's results (see RETURN).

    The module fails on a host without apt and dnf, and when the host's package manager fails.
    """
    if apt := module.get_bin_path("apt-get"):
        command = [apt, "--simulate", "--quiet", "--option=Debug::NoLocking=true", "dist-upgrade"]
        security, others = of_apt(outside.run(module, command, check_rc=True)[1])
        lists = [*glob(_APT_LISTS), *_APT_READ]
        reboot = any(map(os.path.exists, _REBOOT))
    elif dnf := module.get_bin_path("dnf"):
        cached = of_cache(dnf, _OS_RELEASE.read_text(encoding="utf-8") if _OS_RELEASE.exists() else "")
        advisories = outside.run(module, [*cached, "updateinfo", "list", "--security"], check_rc=True)[1]
        code, updates, error = outside.run(module, [*cached, "check-update"])
        if code not in (0, 100):  # 100 means that updates are pending
            module.fail_json(msg=f"dnf check-update: {error.strip()}")
        security, others = of_dnf(advisories, updates)
        lists = [path for pattern in _DNF_LISTS for path in glob(pattern)]
        reboot = asks_for_reboot(outside.run(module, [dnf, "needs-restarting", "--reboothint"])[1])
    else:
        module.fail_json(msg="there is neither apt-get nor dnf on this host")
    return {"security": security, "others": others, "reboot": reboot, "age_seconds": age_s(lists, time.time())}


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, **observe(module))


if __name__ == "__main__":
    main()
