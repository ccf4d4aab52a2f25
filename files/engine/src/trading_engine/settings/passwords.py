"""The passwords of accounts, stored as hashes by scrypt.

A stored hash is the text `scrypt$N$r$p$salt$hash` with scrypt's parameters N, r and p. Salt and hash are in base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re

_COST, _BLOCK, _PARALLEL = 1 << 14, 8, 1
_PATTERN = re.compile(r"scrypt\$(\d{1,8})\$(\d{1,3})\$(\d{1,3})\$([A-Za-z0-9+/]{22}==)\$([A-Za-z0-9+/]{43}=)")


def is_hash(text: str) -> bool:
    return _PATTERN.fullmatch(text) is not None


def obstacle() -> str:
    """Return why this machine cannot check a password, or "" if it can."""
    try:
        hashlib.scrypt(b"", salt=b"", n=2, r=1, p=1)
    except (AttributeError, OSError, ValueError) as error:
        return f"this machine's Python has no scrypt, in which passwords are kept; FIPS mode takes it away ({error})"
    return ""


def hash_password(password: str) -> str:
    salt = os.urandom(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, dklen=32)
    return f"scrypt${_COST}${_BLOCK}${_PARALLEL}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def verify(password: str, hashed: str) -> bool:
    """Return whether the password matches the hash. A text that is no hash never matches.

    This takes some 50 ms of CPU time, so call it in a thread.
    """
    match = _PATTERN.fullmatch(hashed)
    if match is None:
        return False
    cost, block, parallel = (int(part) for part in match.groups()[:3])
    salt, expected = (base64.b64decode(part) for part in match.groups()[3:])
    try:
        digest = hashlib.scrypt(
            password.encode(), salt=salt, n=cost, r=block, p=parallel, dklen=len(expected), maxmem=1 << 28
        )
    except ValueError:
        return False
    return hmac.compare_digest(digest, expected)


class Verifier:
    """A checker of passwords that remembers the right ones, so that only the first check of a password is slow.

    Passwords are remembered as digests with a key that only this process has.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._known: dict[str, bytes] = {}

    def remembered(self, hashed: str, password: str) -> bool:
        """Return whether `check` has found this password right for this hash before. This takes microseconds."""
        known = self._known.get(hashed)
        return known is not None and hmac.compare_digest(known, self._digest(password))

    def check(self, hashed: str, password: str) -> bool:
        """Return whether the password matches the hash, and remember the password if so.

        This is slow, so call it in a thread.
        """
        if not verify(password, hashed):
            return False
        self._known[hashed] = self._digest(password)
        return True

    def _digest(self, password: str) -> bytes:
        return hmac.digest(self._key, password.encode(), "sha256")
