#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that checks whether files still have their declared owner, group and mode."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: installed_files_info
short_description: Read whether files have the owner, group and mode that were declared
version_added: 0.2.0
description:
  - Compare the owners, groups and modes of files with declared ones, and report each difference.
  - Leave out files that do not exist, and directories named lost+found.
  - Change nothing.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The path of a file or directory, or a shell pattern of paths. A link is followed.
        type: str
        required: true
      owner:
        description: The name of the file's owner.
        type: str
        required: true
      group:
        description: The name of the file's group.
        type: str
        required: true
      mode:
        description: The exact mode, in octal digits.
        type: str
      most:
        description:
          - The permissions that the file's mode may have at most, in octal digits.
          - A directory may also have execute permission for everybody who may read it.
        type: str
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read whether the passwords are root's alone
  lowlatency.trading.installed_files_info:
    files:
      - path: /etc/trading/secrets/*.password
        owner: root
        group: root
        mode: "0600"
  register: installed
"""

RETURN = r"""
compared:
  description: The number of compared files.
  type: int
  returned: success
differing:
  description: One sentence for each file that is not as declared.
  type: list
  elements: str
  returned: success
  sample: ["/etc/trading/secrets/BENCH.password has the mode 0644 instead of 0600"]
"""

import glob
import grp
import os
import pwd
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

# The root directory of an ext4 file system contains this directory, which only the user root may read.
_OF_THE_FILE_SYSTEM = "lost+found"


def owner_of(uid: int) -> str:
    """Return a user's name, or the numeric id of a user without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_of(gid: int) -> str:
    """Return a group's name, or the numeric id of a group without a name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def differences(path: str, found: os.stat_result, declared: dict[str, Any]) -> list[str]:
    """Return one sentence for each property of a file that differs from the declared one."""
    mode = stat.S_IMODE(found.st_mode)
    pairs = [
        ("owner", owner_of(found.st_uid), declared["owner"]),
        ("group", group_of(found.st_gid), declared["group"]),
    ]
    if declared.get("mode"):
        pairs.append(("mode", f"{mode:04o}", declared["mode"]))
    sentences = [f"{path} has the {what} {has} instead of {wanted}" for what, has, wanted in pairs if has != wanted]
    if declared.get("most"):
        most = int(declared["most"], 8)
        if stat.S_ISDIR(found.st_mode):
            most |= (most & 0o444) >> 2
        if mode & ~most:
            sentences.append(f"{path} has the mode {mode:04o}, which is more than {most:04o}")
    return sentences


def observe(files: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Compare the declared files with those on the host.

    Return the number of compared files, and one sentence for each difference.
    """
    compared, found = 0, []
    for declared in files:
        for path in sorted(glob.glob(declared["path"])):
            if os.path.basename(path) == _OF_THE_FILE_SYSTEM:
                continue
            try:
                state = os.stat(path)
            except OSError:  # removed in the meantime, or a broken link
                continue
            compared += 1
            found += differences(path, state, declared)
    return compared, found


def main() -> None:
    """Compare the files and report."""
    file = {
        "path": {"type": "str", "required": True},
        "owner": {"type": "str", "required": True},
        "group": {"type": "str", "required": True},
        "mode": {"type": "str"},
        "most": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": file}},
        supports_check_mode=True,
    )
    compared, differing = observe(module.params["files"])
    module.exit_json(changed=False, compared=compared, differing=outside.printable(differing))


if __name__ == "__main__":
    main()
