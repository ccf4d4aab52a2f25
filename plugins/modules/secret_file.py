#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that keeps a secret in a file of the host.

The secret is given, or made at random on the host. In the second case it never leaves the host.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_file
short_description: Keep a secret in a file of the host
version_added: 0.1.0
description:
  - Write the given secret to a file that only root can read.
  - Make a random secret when none is given and the file does not exist. Leave an existing file when none is given.
    Remove the file to get another random secret.
  - Never return the secret, so that it cannot reach a log.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  path:
    description: The path of the file, which gets mode 0600 in a directory with mode 0700.
    type: path
    required: true
  value:
    description: The secret, of one or several lines; empty for a random secret.
    type: str
    default: ""
  minimum_characters:
    description:
      - The least length of the secret, which then must be one word of ASCII characters. 0 allows any text.
    type: int
    default: 16
  validate:
    description:
      - The command that checks a given secret, in which V(%s) stands for the file with it.
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
    description: The difference is not shown, because it would contain the secret.
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
    """Write a file atomically. At no moment can another user than its owner read it."""
    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(scratch, path)


def refusal(module: AnsibleModule, text: str) -> str:
    """Return why the validation command refuses a secret, or an empty text when it accepts the secret.

    The command reads the secret from a temporary file. In the command's message the name of that file is replaced by
    the option `path`.
    """
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
    """Return what is wrong with a secret, such as "is empty", or an empty text. The text does not quote the secret."""
    if not minimum_characters:
        return "" if text.strip() else "is empty"
    if len(text.split()) != 1 or not text.isascii():
        return "is not one word of ASCII characters"
    length = len(text.strip())
    return f"has {length} characters and needs {minimum_characters}" if length < minimum_characters else ""


@dataclass(frozen=True)
class Observed:
    """The present state: the secret (None without a file), and whether the file has the right mode and owner."""

    text: str | None
    private: bool


@dataclass(frozen=True)
class Plan:
    """The change to make to the secret's file.

    It says whether to write the file, and whether to make a random secret. Otherwise `text` is the secret to write.
    """

    changes: bool
    generates: bool
    text: str | None


def observe(path: Path) -> Observed:
    """Return the present state of the secret's file."""
    if not path.exists():
        return Observed(text=None, private=False)
    return Observed(path.read_text(encoding="utf-8", errors="surrogateescape"), is_private(path))


def plan(observed: Observed, value: str) -> Plan:
    """Return the change by which the file gets the given secret.

    If none is given, the file keeps its secret. Without a file, a random secret is made.
    """
    wanted = value.strip() + "\n" if value else observed.text
    return Plan(
        changes=wanted is None or wanted != observed.text or not observed.private,
        generates=wanted is None,
        text=wanted,
    )


def apply(planned: Plan, path: Path) -> None:
    """Write the secret's file if the plan says so."""
    if planned.changes:
        write_private(path, secrets.token_urlsafe(RANDOM_BYTES) + "\n" if planned.text is None else planned.text)


def wrong(module: AnsibleModule, observed: Observed) -> str:
    """Return a sentence that says what is wrong with the given secret, or an empty text when nothing is.

    When no secret is given, the present one is checked instead.
    """
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
