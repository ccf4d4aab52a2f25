#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that writes the engine's accounts, with passwords that are made on the host and stay there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_accounts
short_description: Write the accounts of a trading engine, with passwords made on the host
version_added: 0.1.0
description:
  - Make a random password for each account that has none, and store it in C(<secrets>/<account>.password) with mode
    0600. Write the accounts with the hashes of their passwords to a TOML file for the engine.
  - Keep the hash of an account that has C(<secrets>/<account>.hash) but no password there. This is so after a restore
    from the backup bucket, which has hashes only. An account with neither file gets a new password.
  - Write a password into the file C(.password) to set it yourself, or give it by O(passwords). The next run computes
    its hash.
  - Return neither passwords nor hashes, so that none can reach a log or the controller.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  path:
    description: The TOML file for the engine.
    type: path
    required: true
  secrets:
    description: The directory of the passwords, made with mode 0700.
    type: path
    required: true
  accounts:
    description:
      - The accounts, each with a C(name) and the engine's options for it, such as C(test) or C(tokens).
    type: list
    elements: dict
    required: true
  passwords:
    description:
      - The passwords by account, of 1 to 10 visible ASCII characters, for accounts whose passwords you keep elsewhere.
      - An account without an entry keeps its present password, or gets a random one.
    type: dict
    default: {}
  hash_command:
    description: A command that reads a password from its standard input and prints the hash.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - ansible.builtin.files
attributes:
  check_mode:
    support: full
    description: Report whether anything would be made or written.
  diff_mode:
    support: none
    description: The difference is not shown, because it contains password hashes.
"""

EXAMPLES = r"""
- name: Give each account a password
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

# A SoupBinTCP password has at most 10 characters. 10 random ones of 62 have 59 bits, and the engine throttles attempts.
PASSWORD_LENGTH = 10
ALPHABET = string.ascii_letters + string.digits
NAME = re.compile(r"[A-Za-z0-9]{1,6}")
PASSWORD = re.compile(r"[!-~]{1,10}")
SECRETS_MODE = 0o700
# The output of `trading-engine hash-password`: three cost parameters, salt and hash.
SCRYPT = re.compile(r"scrypt\$(\d{1,8})\$(\d{1,3})\$(\d{1,3})\$([A-Za-z0-9+/]{22}==)\$([A-Za-z0-9+/]{43}=)")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def check_names(accounts: list[dict[str, Any]]) -> str:
    """Return a sentence about the first invalid or repeated account name, or an empty text."""
    names = [str(account.get("name", "")) for account in accounts]
    for name in names:
        if not NAME.fullmatch(name):
            return f"account name {name!r} is none: SoupBinTCP allows 1 to 6 letters or digits"
    doubles = sorted({name for name in names if names.count(name) > 1})
    return f"account {', '.join(doubles)} is there twice" if doubles else ""


def check_passwords(passwords: dict[str, Any], accounts: list[dict[str, Any]]) -> str:
    """Return a sentence about the first problem of the given passwords, or an empty text.

    The sentence does not quote a password.
    """
    names = {account["name"] for account in accounts}
    for name, password in passwords.items():
        if name not in names:
            return f"a password was given for {name}, which is none of the accounts {', '.join(sorted(names))}"
        if not PASSWORD.fullmatch(str(password)):
            return f"the password that was given for {name} is none: 1 to {PASSWORD_LENGTH} visible ASCII characters"
    return ""


def render(accounts: list[dict[str, Any]], hashes: dict[str, str]) -> str:
    """Return the text of the accounts' file in TOML.

    Options are written as JSON, because JSON's form of strings, numbers and booleans is valid TOML.
    """
    lines = ["# Managed by Ansible (lowlatency.trading). The clear-text passwords stay in the secrets directory."]
    for account in accounts:
        options = {key: value for key, value in account.items() if key != "name"}
        options["password"] = hashes[account["name"]]
        lines += ["", f"[accounts.{account['name']}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in sorted(options.items())]
    return "\n".join(lines) + "\n"


def write_private(path: Path, text: str) -> None:
    """Write a file atomically. At no moment can another user than its owner read it."""
    descriptor, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(scratch, path)


def belongs(password: Path, hashed: Path) -> bool:
    """Return whether the hash in the second file belongs to the password in the first file.

    A hash by scrypt, as trading-engine makes it, is computed again (about 50 ms). The hash of another program cannot be
    checked: it counts as right unless the password's file is newer than the hash's file.
    """
    if not (password.exists() and hashed.exists()):
        return False
    match = SCRYPT.fullmatch(hashed.read_text(encoding="utf-8").strip())
    if not match:
        return hashed.stat().st_mtime_ns >= password.stat().st_mtime_ns
    cost, block, parallel = (int(number) for number in match.groups()[:3])
    salt, digest = (base64.b64decode(text) for text in match.groups()[3:])
    first_line = (password.read_text(encoding="utf-8", errors="surrogateescape").splitlines() or [""])[0]
    try:
        made = hashlib.scrypt(
            first_line.encode(errors="surrogateescape"),
            salt=salt,
            n=cost,
            r=block,
            p=parallel,
            dklen=len(digest),
            maxmem=1 << 28,
        )
    except (AttributeError, ValueError):  # invalid costs, or a Python without scrypt
        return False
    return hmac.compare_digest(made, digest)


@dataclass(frozen=True)
class Observed:
    """The present state of the accounts on the host.

    `private` tells whether the directory of the secrets has the right mode. `passwords` are the accounts whose password
    is as wanted. `hashes` has the hash of each account whose hash belongs to its password. `text` is the text of the
    engine's file, or None when it does not exist.
    """

    private: bool
    passwords: frozenset[str]
    hashes: dict[str, str]
    text: str | None


@dataclass(frozen=True)
class Plan:
    """The changes to make to the directory's mode, to the accounts' secrets, and to the engine's file.

    `passwords` and `hashes` are the accounts that need a password or a hash.
    """

    make_private: bool
    passwords: list[str]
    hashes: list[str]
    rewrite: bool

    @property
    def changes(self) -> bool:
        return self.make_private or bool(self.passwords or self.hashes) or self.rewrite


def is_restored(password: Path, hashed: Path, given: str | None) -> bool:
    """Return whether the host has the account's hash but no password, as after a restore from the bucket."""
    return given is None and not password.exists() and hashed.exists()


def is_as_given(password: Path, given: str | None) -> bool:
    """Return whether the host has a password for the account.

    If the user has given a password, the host's password must also be equal to it.
    """
    if not password.exists():
        return False
    return given is None or password.read_text(encoding="utf-8", errors="surrogateescape") == given + "\n"


def observe(directory: Path, names: list[str], path: Path, given: dict[str, str]) -> Observed:
    """Read the secrets of the accounts in `directory`, and the engine's file at `path`."""
    files = {name: (directory / f"{name}.password", directory / f"{name}.hash") for name in names}
    restored = {name for name, pair in files.items() if is_restored(*pair, given.get(name))}
    kept = restored | {name for name, (password, _hashed) in files.items() if is_as_given(password, given.get(name))}
    return Observed(
        private=directory.exists() and mode_of(directory) == SECRETS_MODE,
        passwords=frozenset(kept),
        hashes={
            name: hashed.read_text(encoding="utf-8").strip()
            for name, (password, hashed) in files.items()
            if name in restored or (name in kept and belongs(password, hashed))
        },
        text=path.read_text(encoding="utf-8") if path.exists() else None,
    )


def plan(observed: Observed, accounts: list[dict[str, Any]]) -> Plan:
    """Return which accounts need a password or a hash, and whether to write the accounts' file."""
    names = [account["name"] for account in accounts]
    hashes = [name for name in names if name not in observed.hashes]
    return Plan(
        make_private=not observed.private,
        passwords=[name for name in names if name not in observed.passwords],
        hashes=hashes,
        rewrite=bool(hashes) or render(accounts, observed.hashes) != observed.text,
    )


def apply(
    module: AnsibleModule, planned: Plan, observed: Observed, directory: Path, accounts: list[dict[str, Any]]
) -> None:
    """Make the missing passwords and hashes, and write the accounts' file if the plan says so."""
    given = module.params["passwords"]
    directory.mkdir(mode=SECRETS_MODE, exist_ok=True)
    if planned.make_private:
        directory.chmod(SECRETS_MODE)
    for name in planned.passwords:
        random = "".join(secrets.choice(ALPHABET) for _place in range(PASSWORD_LENGTH))
        write_private(directory / f"{name}.password", str(given.get(name, random)) + "\n")
    made = {name: make_hash(module, directory, name) for name in planned.hashes}
    if planned.rewrite:
        descriptor, scratch = tempfile.mkstemp(dir=module.tmpdir)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(render(accounts, {**observed.hashes, **made}))
        module.atomic_move(scratch, module.params["path"])


def make_hash(module: AnsibleModule, directory: Path, name: str) -> str:
    """Store the hash of the account's password next to the password, and return the hash."""
    password, hashed = directory / f"{name}.password", directory / f"{name}.hash"
    secret = password.read_text(encoding="utf-8", errors="surrogateescape")
    returned, out, err = outside.run(module, module.params["hash_command"], data=secret)
    if returned != 0:
        module.fail_json(msg=f"cannot hash the password in {password}: {err.strip()}")
    write_private(hashed, out)
    return out.strip()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "secrets": {"type": "path", "required": True, "no_log": False},
            "accounts": {"type": "list", "elements": "dict", "required": True},
            "passwords": {"type": "dict", "default": {}, "no_log": True},
            "hash_command": {"type": "list", "elements": "str", "required": True},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    accounts = module.params["accounts"]
    path, directory = Path(module.params["path"]), Path(module.params["secrets"])
    given = {name: str(password) for name, password in module.params["passwords"].items()}
    wrong = check_names(accounts) or check_passwords(given, accounts)
    if wrong:
        module.fail_json(msg=wrong)
    observed = observe(directory, [account["name"] for account in accounts], path, given)
    planned = plan(observed, accounts)
    if module.check_mode:
        module.exit_json(changed=planned.changes, generated=[])
    apply(module, planned, observed, directory, accounts)
    arguments = module.load_file_common_arguments(module.params)
    changed = module.set_fs_attributes_if_different(arguments, planned.changes)
    module.exit_json(changed=changed, generated=[name for name in planned.passwords if name not in given])


if __name__ == "__main__":
    main()
