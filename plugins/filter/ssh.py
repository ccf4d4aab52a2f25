# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter that returns SSH options for a host: where ssh finds the host's key, and which private key it offers."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Callable
from typing import Any


def ssh_options(instance_id: str, public_key_file: str = "", key_name: str = "", known_hosts_file: str = "") -> str:
    """Return options for ssh's command line, quoted for a shell.

    The host key is stored under the instance's id, because a stop and a start give the instance another address. The
    options name the known-hosts file, because Ansible reads ``~`` as the variable HOME, and ssh as the user's home in
    the user database.

    Ssh offers the private key, whose file is ``public_key_file`` without ".pub". If there is no such file, ssh offers
    the public key, and the user's SSH agent has the private key. Ssh offers no other key, because a server counts each
    offered key as an attempt. If ``key_name`` shows that the host was launched with another key, ssh chooses the key
    itself.
    """
    options = [f"HostKeyAlias={instance_id}"] if instance_id else []
    if known_hosts_file:
        options.append(f"UserKnownHostsFile={_quoted(os.path.expanduser(known_hosts_file))}")
    public = ""
    if public_key_file:
        public = os.path.expanduser(public_key_file)
        if _is_of_another_key(key_name, public):
            public = ""
    if public:
        private = public[: -len(".pub")] if public.endswith(".pub") else public
        key = private if os.path.isfile(private) else public
        options += ["IdentitiesOnly=yes", f"IdentityFile={_quoted(key)}"]
    return " ".join(f"-o {shlex.quote(option)}" for option in options)


def _quoted(path: str) -> str:
    # Without quotes ssh ends a file's name at a blank. It reads a percent sign as the start of a token such as %h.
    return '"' + path.replace("%", "%%") + '"'


def _is_of_another_key(key_name: str, public: str) -> bool:
    """Return whether an AWS key pair has another key than the given file of a public key.

    The name of a key pair ends with the first 12 digits of its key's SHA-256 digest.
    """
    digest = key_name.rpartition("-")[2]
    if not re.fullmatch(r"[0-9a-f]{12}", digest) or not os.path.isfile(public):
        return False
    with open(public, encoding="utf-8", errors="replace") as file:
        words = " ".join(file.read().split()[:2])
    return hashlib.sha256(words.encode()).hexdigest()[:12] != digest


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"ssh_options": ssh_options}
