# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that select pip's settings for hosts and for the controller.

On a host pip uses no settings. On the controller it uses only the settings for access to the package index.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping

REACHING_THE_INDEX = (
    "cert",
    "client-cert",
    "extra-index-url",
    "find-links",
    "index-url",
    "keyring-provider",
    "no-index",
    "proxy",
    "trusted-host",
    "use-deprecated",
    "use-feature",
)
# With this variable pip reads no settings file. The option --isolated would not exclude /etc/pip.conf.
NO_FILE = {"PIP_CONFIG_FILE": os.devnull}


def none_of_them(environment: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables that make pip ignore all settings.

    They replace the variables that now set something by empty ones, which pip treats as unset.
    """
    return {**{name: "" for name in environment if name.startswith("PIP_")}, **NO_FILE}


def of_the_index(listed: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables that make pip ignore all settings except those for access to the package index.

    `listed` is the output of `pip config list`. When a setting occurs twice in it, the later line counts. The output
    lists settings from files first: global ones, then those of one command. Settings from environment variables come
    last.
    """
    found = {}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        section, _dot, option = name.rpartition(".")
        if equals and option in REACHING_THE_INDEX and section in ("global", "download", "wheel", "install", ":env:"):
            found[f"PIP_{option.replace('-', '_').upper()}"] = str(ast.literal_eval(value))
    return {**none_of_them(environment), **found}
