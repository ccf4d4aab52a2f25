# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter that checks the list ``hardening_operators`` before anybody on it gets a Linux account."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import Any

ROLES = ("observer", "operator", "deployer")
_FIELDS = {"name", "role", "keys"}
# Every distribution's useradd accepts these names, and none of their characters is a wildcard in sshd's AllowUsers.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
# For each key type the number of fields that follow the type in a key's blob. Each field begins with its length.
_PARTS = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
_RSA_BITS = 2048
_SERVICES = ("trading", "cwagent", "systemd-")


class PublicKeyError(ValueError):
    """A text is not a public key. The message does not quote the text, because it may be a private key."""


def blob_of(text: str) -> bytes:
    """Return the decoded public key of one line for the file authorized_keys.

    The line must not begin with options. Raises PublicKeyError for a damaged or weak key, a private key, and any other
    text.
    """
    if "PRIVATE KEY" in text:
        raise PublicKeyError("is a private key: make another pair, and give the line in the file that ends with .pub")
    words = text.split()
    if not words or len(text.strip().splitlines()) != 1:
        raise PublicKeyError("is not one line")
    if words[0] not in _PARTS:
        raise PublicKeyError(f"begins with no type of key ({', '.join(_PARTS)}); options before it are not taken")
    try:
        blob = base64.b64decode(words[1], validate=True) if len(words) > 1 else b""
    except (binascii.Error, ValueError):
        blob = b""
    parts = _split(blob)
    if len(parts) != _PARTS[words[0]] + 1 or parts[0] != words[0].encode():
        raise PublicKeyError(f"is damaged: what follows {words[0]} is not such a key; copy the whole line")
    if words[0] == "ssh-ed25519" and len(parts[1]) != 32:
        raise PublicKeyError(f"is damaged: it has {len(parts[1])} bytes instead of 32; copy the whole line")
    bits = int.from_bytes(parts[2], "big").bit_length() if words[0] == "ssh-rsa" else _RSA_BITS
    if bits < _RSA_BITS:
        raise PublicKeyError(f"has {bits} bits, fewer than {_RSA_BITS}: make one of the type ssh-ed25519")
    return blob


def _split(blob: bytes) -> list[bytes]:
    """Return the fields of an SSH key blob, which consists of fields that each follow their length.

    Return an empty list when the lengths do not fit the blob.
    """
    parts = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            return []
        parts.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return parts


def people_problems(people: Any) -> list[str]:
    """Return one sentence for each problem of the list ``hardening_operators``.

    A problem is an invalid name, role or key, or a name or key that occurs twice.
    """
    if not isinstance(people, (list, tuple)):
        return ["it is no list"]
    found = [problem for number, person in enumerate(people, 1) for problem in _of_one(number, person)]
    names: set[str] = set()
    owners: dict[bytes, str] = {}
    for person in people:
        name = str(person.get("name", "")) if isinstance(person, dict) else ""
        if name and name in names:
            found.append(f"{name} is there twice")
        names.add(name)
        for number, blob in _blobs(person):
            if blob in owners:
                whose = f"{owners[blob]}'s as well" if owners[blob] != name else "there twice"
                found.append(f"key {number} of {name} is {whose}: each key is one person's, given once")
            owners.setdefault(blob, name)
    return found


def _of_one(number: int, person: Any) -> Iterator[str]:
    if not isinstance(person, dict):
        yield f"person {number} is no dictionary of name, role and keys"
        return
    name = person.get("name")
    who = name if isinstance(name, str) and name else f"person {number}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield f"{who} needs a name of 1 to 31 small letters, digits, _ and -, a letter first"
    elif name == "root":
        yield "root is nobody's name: give each person an account, of the role deployer where root's work is needed"
    elif name.startswith(_SERVICES):
        yield f"{name} is or may become the name of a service's user: choose one that does not begin like it"
    if person.get("role") not in ROLES:
        yield f"{who} has the role {person.get('role')!r}, which is none of {', '.join(ROLES)}"
    if unknown := sorted(set(person) - _FIELDS):
        yield f"{who} has {', '.join(map(str, unknown))}, which nobody knows"
    keys = person.get("keys")
    if not isinstance(keys, (list, tuple)) or not keys:
        yield f"{who} needs a list of one or more keys"
        return
    for place, key in enumerate(keys, 1):
        try:
            blob_of(key if isinstance(key, str) else "")
        except PublicKeyError as problem:
            yield f"key {place} of {who} {problem}"


def _blobs(person: Any) -> Iterator[tuple[int, bytes]]:
    """Yield (position, decoded key) for each valid public key of one person. Positions count from 1."""
    keys = person.get("keys") if isinstance(person, dict) else None
    for place, key in enumerate(keys if isinstance(keys, (list, tuple)) else [], 1):
        try:
            yield place, blob_of(key if isinstance(key, str) else "")
        except PublicKeyError:
            continue


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"people_problems": people_problems}
