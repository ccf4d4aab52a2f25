# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A function that finds an instance's SSH host key in the console output of its first boot.

The module ec2_host_key_info uses it.
"""

from __future__ import annotations

import re

# cloud-init's module keys_to_console writes the keys between these two lines. Each line may begin with a log prefix.
_BLOCK = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_KEY = re.compile(r"\b(ssh-ed25519|ecdsa-sha2-nistp256|ssh-rsa) (AAAA[0-9A-Za-z+/]+=*)")
_PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


def host_key(output: str) -> str | None:
    """Return the preferred SSH host key from the last block of host keys in the output, as "ssh-ed25519 AAAA…".

    Return None when the output has no complete block.
    """
    blocks = _BLOCK.findall(output)
    if not blocks:
        return None
    keys = dict(_KEY.findall(blocks[-1]))
    return next((f"{kind} {keys[kind]}" for kind in _PREFERRED if kind in keys), None)
