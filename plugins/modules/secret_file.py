#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a secret in a file of the host: a given one, or a random one that is made there and never leaves the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_file
short_description: Keep a secret in a file of the host
version_added: 0.1.0
description:
  - Write the given secret to a file that only root can read. Without a given one, make a random one if none is there.
  - Leave a secret that is there when none is given. Remove the file to have another one made.
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
      - The length that a secret of one word has to have, whoever made it; 0 takes any text.
    type: int
    default: 16
  validate:
    description:
      - The command that says whether a given secret is one, with V(%s) for the file to look at.
      - Run it in check mode as well.
    type: list
    elements: str
    default: []
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
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

RANDOM_BYTES = 24
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def is_private(path: Path) -> bool:
    found = path.stat()
    return stat.S_IMODE(found.st_mode) == FILE_MODE and found.st_uid == os.geteuid()


def write_private(path: Path, text: str) -> None:
    """Write a file atomically, readable only by its owner at every moment."""
    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(scratch, path)


def refusal(module: AnsibleModule, text: str) -> str:
    """Return the validation command's objection to a secret, with the file's own name in its message."""
    descriptor, scratch = tempfile.mkstemp(dir=module.tmpdir)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        command = [word.replace("%s", scratch) for word in module.params["validate"]]
        returned, _out, err = outside.run(module, command)
    finally:
        os.unlink(scratch)
    if returned == 0:
        return ""
    return err.strip().replace(scratch, module.params["path"]) or f"{command[0]} refuses it with exit code {returned}"


def problem(text: str, minimum_characters: int) -> str:
    """Return the problem of a secret without quoting it, or an empty text."""
    if not minimum_characters:
        return "" if text.strip() else "is empty"
    if len(text.split()) != 1 or not text.isascii():
        return "is not one word of ASCII characters"
    length = len(text.strip())
    return f"has {length} characters and needs {minimum_characters}" if length < minimum_characters else ""


@dataclass(frozen=True)
class Observed:
    """The present state: the secret (None without a file), and whether only its owner can read it."""

    text: str | None
    private: bool


@dataclass(frozen=True)
class Plan:
    """The change to make: the text of the file, or None for a random secret still to be made."""

    changes: bool
    generates: bool
    text: str | None


def observe(path: Path) -> Observed:
    """Read the file."""
    if not path.exists():
        return Observed(text=None, private=False)
    return Observed(path.read_text(encoding="utf-8", errors="surrogateescape"), is_private(path))


def plan(observed: Observed, value: str) -> Plan:
    """Return the change that puts the given secret, or any secret, into the file."""
    wanted = value.strip() + "\n" if value else observed.text
    return Plan(
        changes=wanted is None or wanted != observed.text or not observed.private,
        generates=wanted is None,
        text=wanted,
    )


def apply(planned: Plan, path: Path) -> None:
    """Write the file."""
    if planned.changes:
        write_private(path, secrets.token_urlsafe(RANDOM_BYTES) + "\n" if planned.text is None else planned.text)


def wrong(module: AnsibleModule, observed: Observed) -> str:
    """Return the problem of the given secret, else of the present one; an empty text without a problem."""
    path, value, minimum = (module.params[name] for name in ("path", "value", "minimum_characters"))
    if not value:
        found = "" if observed.text is None else problem(observed.text, minimum)
        return found and f"{path} {found}: correct it, or remove it to have a new one made"
    if found := problem(value, minimum):
        return f"the secret that was given for {path} {found}"
    found = refusal(module, value.strip() + "\n") if module.params["validate"] else ""
    return found and f"the secret that was given for {path} is refused: {found}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "value": {"type": "str", "default": "", "no_log": True},
            "minimum_characters": {"type": "int", "default": 16},
            "validate": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    observed = observe(path)
    if why := wrong(module, observed):
        module.fail_json(msg=why)
    planned = plan(observed, module.params["value"])
    if not module.check_mode:
        apply(planned, path)
    module.exit_json(changed=planned.changes, generated=planned.generates)


if __name__ == "__main__":
    main()
