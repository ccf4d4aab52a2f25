#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give every account of the engine a password that was made on the host and never leaves it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_accounts
short_description: Accounts of a trading engine with passwords made on the host
version_added: 0.1.0
description:
  - Makes a random password for each account that has none, keeps it in C(<secrets>/<account>.password), mode 0600,
    and writes the accounts with the hashes of their passwords to a TOML file for the engine.
  - To set a password yourself, write it into that file; the next run takes its hash.
  - Neither passwords nor hashes are returned, so none can reach a log or the controller.
author: lowlatency.trading contributors (@lowlatency)
options:
  path:
    description: The TOML file for the engine.
    type: path
    required: true
  secrets:
    description: Directory of the passwords, made with mode 0700.
    type: path
    required: true
  accounts:
    description:
      - The accounts, each with a C(name) and the engine's options for it, as C(test) or C(tokens).
    type: list
    elements: dict
    required: true
  hash_command:
    description: Command that reads a password from its standard input and prints the hash.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - ansible.builtin.files
attributes:
  check_mode:
    support: full
    description: Reports whether anything would be made or written.
  diff_mode:
    support: none
    description: Hashes are nobody's business.
"""

EXAMPLES = r"""
- name: The accounts have passwords
  lowlatency.trading.engine_accounts:
    path: /etc/trading/accounts.toml
    secrets: /etc/trading/secrets
    accounts:
      - name: BENCH
        test: true
    hash_command: [/opt/trading/current/bin/trading-engine, hash-password]
    group: trading-engine
    mode: "0640"
"""

RETURN = r"""
generated:
  description: Names of the accounts that got a new password.
  type: list
  elements: str
  returned: success
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import string
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# SoupBinTCP carries at most 10 characters; 62 different ones make 59 bits, and the engine throttles attempts.
PASSWORD_LENGTH = 10
ALPHABET = string.ascii_letters + string.digits
NAME = re.compile(r"[A-Za-z0-9]{1,6}")
SECRETS_MODE = 0o700
# What `trading-engine hash-password` prints: costs, salt and hash.
SCRYPT = re.compile(r"scrypt\$(\d{1,8})\$(\d{1,3})\$(\d{1,3})\$([A-Za-z0-9+/]{22}==)\$([A-Za-z0-9+/]{43}=)")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def check_names(accounts: list[dict[str, Any]]) -> str:
    """Return what is wrong with the accounts' names, empty when nothing is."""
    names = [str(account.get("name", "")) for account in accounts]
    for name in names:
        if not NAME.fullmatch(name):
            return f"account name {name!r} is none: SoupBinTCP allows 1 to 6 letters or digits"
    doubles = sorted({name for name in names if names.count(name) > 1})
    return f"account {', '.join(doubles)} is there twice" if doubles else ""


def render(accounts: list[dict[str, Any]], hashes: dict[str, str]) -> str:
    """Return the TOML file; JSON's text for strings, numbers and booleans is TOML's as well."""
    lines = ["# Managed by Ansible (lowlatency.trading). The clear-text passwords stay in the secrets directory."]
    for account in accounts:
        options = {key: value for key, value in account.items() if key != "name"}
        options["password"] = hashes[account["name"]]
        lines += ["", f"[accounts.{account['name']}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in sorted(options.items())]
    return "\n".join(lines) + "\n"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at no moment otherwise, and never half of it."""
    descriptor, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(scratch, path)


def password_of(directory: Path, name: str) -> bool:
    """Make the account's password if it has none; return whether it was made."""
    path = directory / f"{name}.password"
    if path.exists():
        return False
    write_private(path, "".join(secrets.choice(ALPHABET) for _place in range(PASSWORD_LENGTH)) + "\n")
    return True


def belongs(password: Path, hashed: Path) -> bool:
    """Return whether the second file has the hash of the password in the first.

    An scrypt hash, as trading-engine makes them, is computed anew (some 50 ms). The hash of another engine says nothing
    here: it is taken for right unless the password is younger.
    """
    if not (password.exists() and hashed.exists()):
        return False
    match = SCRYPT.fullmatch(hashed.read_text(encoding="utf-8").strip())
    if not match:
        return hashed.stat().st_mtime_ns >= password.stat().st_mtime_ns
    cost, block, parallel = (int(number) for number in match.groups()[:3])
    salt, digest = (base64.b64decode(text) for text in match.groups()[3:])
    first_line = (password.read_text(encoding="utf-8").splitlines() or [""])[0]
    try:
        made = hashlib.scrypt(
            first_line.encode(), salt=salt, n=cost, r=block, p=parallel, dklen=len(digest), maxmem=1 << 28
        )
    except ValueError:  # costs that scrypt does not take: no hash of the engine's
        return False
    return hmac.compare_digest(made, digest)


def hash_of(module: AnsibleModule, directory: Path, name: str) -> str:
    """Return the hash of the account's password; it is made again when the one there is not the password's."""
    password, hashed = directory / f"{name}.password", directory / f"{name}.hash"
    if not belongs(password, hashed):
        returned, out, err = module.run_command(
            module.params["hash_command"], data=password.read_text(encoding="utf-8")
        )
        if returned != 0:
            module.fail_json(msg=f"cannot hash the password in {password}: {err.strip()}")
        write_private(hashed, out)
    return hashed.read_text(encoding="utf-8").strip()


def would_change(directory: Path, accounts: list[dict[str, Any]], path: Path) -> bool:
    """Return what check mode reports: whether a hash would be made, or the file or the directory's mode differs."""
    if not directory.exists() or mode_of(directory) != SECRETS_MODE:
        return True
    hashes = {}
    for account in accounts:
        hashed = directory / f"{account['name']}.hash"
        if not belongs(directory / f"{account['name']}.password", hashed):
            return True
        hashes[account["name"]] = hashed.read_text(encoding="utf-8").strip()
    return not path.exists() or path.read_text(encoding="utf-8") != render(accounts, hashes)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "secrets": {"type": "path", "required": True, "no_log": False},
            "accounts": {"type": "list", "elements": "dict", "required": True},
            "hash_command": {"type": "list", "elements": "str", "required": True},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    accounts = module.params["accounts"]
    path, directory = Path(module.params["path"]), Path(module.params["secrets"])
    wrong = check_names(accounts)
    if wrong:
        module.fail_json(msg=wrong)
    if module.check_mode:
        module.exit_json(changed=would_change(directory, accounts, path), generated=[])
    directory.mkdir(mode=SECRETS_MODE, exist_ok=True)
    repaired = mode_of(directory) != SECRETS_MODE
    if repaired:
        directory.chmod(SECRETS_MODE)
    generated = [account["name"] for account in accounts if password_of(directory, account["name"])]
    text = render(accounts, {account["name"]: hash_of(module, directory, account["name"]) for account in accounts})
    changed = not path.exists() or path.read_text(encoding="utf-8") != text
    if changed:
        descriptor, scratch = tempfile.mkstemp(dir=module.tmpdir)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        module.atomic_move(scratch, str(path))
    changed = module.set_fs_attributes_if_different(module.load_file_common_arguments(module.params), changed)
    module.exit_json(changed=changed or repaired or bool(generated), generated=generated)


if __name__ == "__main__":
    main()
