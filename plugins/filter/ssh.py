# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SSH is told of a host: the name that its key is kept under, and the one key to log in with."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from typing import Any


def ssh_options(instance_id: str, public_key_file: str = "") -> str:
    """Return options for ssh's command line.

    A host key is kept under the instance's id, because a stop and a start give the instance another address.
    Of ``public_key_file`` the private key beside it is offered; where there is none the public key itself, of which an
    agent offers the private one. No other key is: a server counts each as an attempt.
    """
    options = [f"HostKeyAlias={instance_id}"] if instance_id else []
    if public_key_file:
        public = os.path.expanduser(public_key_file)
        private = public[: -len(".pub")] if public.endswith(".pub") else public
        key = private if os.path.isfile(private) else public
        # ssh reads a blank as the end of a file's name, and a percent sign as the start of a token.
        quoted = key.replace("%", "%%")
        options += ["IdentitiesOnly=yes", f'IdentityFile="{quoted}"']
    return " ".join(f"-o {shlex.quote(option)}" for option in options)


class FilterModule:
    """The filters by the name that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them."""
        return {"ssh_options": ssh_options}
