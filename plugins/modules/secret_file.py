#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a secret in a file of the host: one that is given, or a random one that is made there and never leaves it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_file
short_description: Keep a secret in a file of the host
version_added: 0.1.0
description:
  - Write the given secret to a file that only root can read. Without a given one, make a random one if none is there.
  - A secret that is there stays when none is given. Remove the file to have another one made.
  - Return nothing of it, so that it can reach no log.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  path:
    description: The file, made with mode 0600 in a directory with mode 0700.
    type: path
    required: true
  value:
    description: The secret, of one line or several; empty for one that is made on the host.
    type: str
    default: ""
  minimum_characters:
    description:
      - How long a secret of one word has to be, whoever made it; 0 takes any text.
    type: int
    default: 16
attributes:
  check_mode:
    support: full
    description: Report whether anything would be made or written.
  diff_mode:
    support: none
    description: A secret is nobody's business.
"""

EXAMPLES = r"""
- name: Make the access token
  lowlatency.trading.secret_file:
    path: /etc/trading/secrets/telemetry.token
"""

RETURN = r"""
generated:
  description: Whether a secret was made on the host.
  type: bool
  returned: success
"""

import os
import secrets
import stat
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

RANDOM_BYTES = 24
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def is_private(path: Path) -> bool:
    found = path.stat()
    return stat.S_IMODE(found.st_mode) == FILE_MODE and found.st_uid == os.geteuid()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at no moment otherwise, and never half of it."""
    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(scratch, path)


def problem(text: str, minimum_characters: int) -> str:
    """Return what is wrong with a secret, without a word of it; empty when nothing is."""
    if not minimum_characters:
        return "" if text.strip() else "is empty"
    if len(text.split()) != 1 or not text.isascii():
        return "is not one word of ASCII characters"
    length = len(text.strip())
    return f"has {length} characters and needs {minimum_characters}" if length < minimum_characters else ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "value": {"type": "str", "default": "", "no_log": True},
            "minimum_characters": {"type": "int", "default": 16},
        },
        supports_check_mode=True,
    )
    path, value = Path(module.params["path"]), module.params["value"]
    minimum = module.params["minimum_characters"]
    present = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else None
    if value and (wrong := problem(value, minimum)):
        module.fail_json(msg=f"the secret that was given for {path} {wrong}")
    if not value and present is not None and (wrong := problem(present, minimum)):
        module.fail_json(msg=f"{path} {wrong}: correct it, or remove it to have a new one made")
    generate = not value and present is None
    wanted = value.strip() + "\n" if value else present
    changed = generate or wanted != present or not is_private(path)
    if changed and not module.check_mode:
        write_private(path, secrets.token_urlsafe(RANDOM_BYTES) + "\n" if wanted is None else wanted)
    module.exit_json(changed=changed, generated=generate)


if __name__ == "__main__":
    main()
