#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that reads the SSH server's effective settings, which result from all its files and options."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: sshd_settings_info
short_description: Read the settings that an SSH server has in effect
version_added: 0.2.0
description:
  - Read the effective settings by C(sshd -T) with the options of the running server, and compare them with wanted ones.
  - Read all files and options together. A drop-in has no effect when no file includes it, or when an earlier line or an
    option on the server's command line overrides it.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  unit:
    description: The systemd unit of the running server.
    type: str
    required: true
  user:
    description: The user for whom C(Match) blocks are evaluated.
    type: str
    default: root
  wanted:
    description:
      - The settings that shall be in effect, by their names in sshd_config(5). A setting that can be repeated has a
        list of values.
    type: dict
    default: {}
  algorithms:
    description:
      - The lists of wanted algorithms by the names of their settings. The module returns those that this server
        supports.
      - The result is empty when the kernel is in FIPS mode, because the server then knows algorithms that it must not
        use.
    type: dict
    default: {}
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read whether passwords are refused
  lowlatency.trading.sshd_settings_info:
    unit: ssh
    wanted:
      PasswordAuthentication: "no"
  register: sshd
"""

RETURN = r"""
settings:
  description: The values of each setting, by its name in lower case.
  type: dict
  returned: success
  sample: {"passwordauthentication": ["no"]}
arguments:
  description: The options of the running server that affect its settings.
  type: list
  elements: str
  returned: success
  sample: ["-o", "PasswordAuthentication=yes"]
supported:
  description: The ones of O(algorithms) that this server supports, in their order. A setting without any is left out.
  type: dict
  returned: success
  sample: {"KexAlgorithms": ["sntrup761x25519-sha512@openssh.com", "curve25519-sha256"]}
differing:
  description: One sentence for each setting that is not as wanted.
  type: list
  elements: str
  returned: success
  sample: ["PasswordAuthentication is yes instead of no"]
"""

import getopt
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

# The options of sshd(8). Those in _SETTING affect settings, and are passed on to `sshd -T`.
_OPTIONS = "46DGQRTdeiqrtVC:E:b:c:f:g:h:k:o:p:u:"
_SETTING = ("-c", "-f", "-h", "-o", "-p")
_FIPS = Path("/proc/sys/crypto/fips_enabled")
# The signature algorithms of an RSA key have other names than the key's type.
_KEY_TYPES = {"rsa-sha2-256": "ssh-rsa", "rsa-sha2-512": "ssh-rsa"}
# Values with two names in sshd_config(5). `sshd -T` prints the older name.
_SYNONYMS = {"prohibit-password": "without-password"}


def arguments(command_line: str) -> list[str]:
    """Return the command-line options of a running SSH server that affect its settings.

    ``command_line`` is the text of /proc/PID/cmdline. The server may have replaced this text by a title such as

    ``sshd: /usr/sbin/sshd -D -o Port=22 [listener] 0 of 10-100 startups``.
    """
    words = command_line.strip("\0").split("\0")
    if len(words) == 1:
        # The title does not separate words by zero bytes. So everything up to the next option is an option's value.
        parts = re.split(r" (?=-[A-Za-z0-9])", words[0].partition(" [listener]")[0])[1:]
        options = [(part[:2], part[2:].strip()) for part in parts]
    else:
        try:
            options, _rest = getopt.getopt(words[1:], _OPTIONS)
        except getopt.GetoptError:
            return words[1:]
    return [word for name, value in options if name in _SETTING for word in (name, value)]


def parse(output: str) -> dict[str, list[str]]:
    """Return a dictionary: setting → its values, from the output of ``sshd -T``.

    A repeated setting has one line for each of its values.
    """
    settings: dict[str, list[str]] = {}
    for line in output.splitlines():
        name, _blank, value = line.strip().partition(" ")
        if name:
            settings.setdefault(name, []).append(value)
    return settings


def compare(settings: dict[str, list[str]], wanted: dict[str, Any]) -> list[str]:
    """Return one sentence for each setting that differs from the wanted value."""
    found = []
    for name, value in wanted.items():
        values = [str(one) for one in (value if isinstance(value, list) else [value])]
        there = settings.get(name.lower(), [])
        if sorted(map(_normal, there)) != sorted(map(_normal, values)):
            found.append(f"{name} is {' '.join(there) or 'not set'} instead of {' '.join(values)}")
    return found


def _normal(value: str) -> str:
    return _SYNONYMS.get(value.lower(), value)


def connection(module: AnsibleModule) -> str:
    """Return the connection for which ``sshd -T`` evaluates Match blocks, in the form of its option ``-C``."""
    return f"user={module.params['user']},host=localhost,addr=127.0.0.1"


def key_types(settings: dict[str, list[str]]) -> set[str]:
    """Return the types of the host's keys, from the public halves of the key files that the server reads.

    The set is empty when the host uses certificates, whose algorithms have other names.
    """
    found: set[str] = set()
    if settings.get("hostcertificate", ["none"]) != ["none"]:
        return found
    for path in settings.get("hostkey", []):
        try:
            found.add(Path(f"{path}.pub").read_text(encoding="utf-8").split()[0])
        except (OSError, UnicodeDecodeError, IndexError):
            continue
    return found


def usable(names: list[str], types: set[str]) -> list[str]:
    """Return the algorithms of the given list for which the host has a key."""
    return [name for name in names if _KEY_TYPES.get(name, name) in types]


def is_known(module: AnsibleModule, sshd: str, setting: str, names: list[str]) -> bool:
    """Return whether the server would accept a setting with these algorithms."""
    command = [sshd, "-T", "-C", connection(module), "-o", f"{setting}={','.join(names)}"]
    return bool(outside.run(module, command)[0] == 0)


def supported(module: AnsibleModule, sshd: str, settings: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return a dictionary: setting → those of the wanted algorithms that the server supports.

    The server does not start with an algorithm that it does not support.
    """
    if _FIPS.exists() and _FIPS.read_text(encoding="utf-8").strip() == "1":
        return {}
    found: dict[str, list[str]] = {}
    for setting, names in module.params["algorithms"].items():
        wanted = usable(names, key_types(settings)) if setting.lower() == "hostkeyalgorithms" else list(names)
        if wanted and is_known(module, sshd, setting, wanted):
            known = wanted
        else:
            known = [name for name in wanted if is_known(module, sshd, setting, [name])]
        if known:
            found[setting] = known
    return found


def observe(module: AnsibleModule, sshd: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the running server's options, and its effective settings."""
    show = ["systemctl", "show", "--property=MainPID", "--value", module.params["unit"]]
    _code, pid, _error = outside.run(module, show, check_rc=True)
    # With socket activation by systemd no server runs before the first connection.
    command_line = Path("/proc", pid.strip(), "cmdline")
    given = arguments(command_line.read_text(encoding="utf-8", errors="replace")) if int(pid or 0) else []
    code, output, error = outside.run(module, [sshd, "-T", "-C", connection(module), *given], check_rc=not given)
    if code:
        module.warn(
            f"sshd -T does not take the options of {module.params['unit']}, so they are left out: {error.strip()}"
        )
        _code, output, _error = outside.run(module, [sshd, "-T", "-C", connection(module)], check_rc=True)
    return given, parse(output)


def main() -> None:
    """Read the effective settings, and compare them with the wanted ones."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "user": {"type": "str", "default": "root"},
            "wanted": {"type": "dict", "default": {}},
            "algorithms": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    sshd = module.get_bin_path("sshd", required=True, opt_dirs=["/usr/sbin"])
    given, settings = observe(module, sshd)
    module.exit_json(
        changed=False,
        settings=settings,
        arguments=given,
        supported=supported(module, sshd, settings),
        differing=compare(settings, module.params["wanted"]),
    )


if __name__ == "__main__":
    main()
