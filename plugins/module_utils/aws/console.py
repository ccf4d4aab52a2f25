# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads SSH host keys from a machine's console output of its first boot. Pure: text in, keys out."""

from __future__ import annotations

import re

# cloud-init's module keys_to_console writes the keys between these lines, each line perhaps after a log prefix.
_BLOCK = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_KEY = re.compile(r"\b(ssh-ed25519|ecdsa-sha2-nistp256|ssh-rsa) (AAAA[0-9A-Za-z+/]+=*)")
_PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


def host_key(output: str) -> str | None:
    """Return the best key of the newest block ("ssh-ed25519 AAAA…"), None when there is no whole block."""
    blocks = _BLOCK.findall(output)
    if not blocks:
        return None
    keys = dict(_KEY.findall(blocks[-1]))
    return next((f"{kind} {keys[kind]}" for kind in _PREFERRED if kind in keys), None)
