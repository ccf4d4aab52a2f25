#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that tests whether an account can log in by SoupBinTCP, from the computer that runs the module.

SoupBinTCP is the session protocol of order entry and market data.
"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: login_answer_info
short_description: Read whether an account can log in by SoupBinTCP
version_added: 0.2.0
description:
  - Read the answer of a market data port to a login that requests no earlier messages, and end the connection.
  - Do not use the module for order entry, where a login takes over the account's session.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  host:
    description: The address or name of the host.
    type: str
    required: true
  port:
    description: The port.
    type: int
    required: true
  account:
    description: The account, six letters or digits at most.
    type: str
    required: true
  password:
    description: The account's password.
    type: str
    required: true
  tls:
    description: Say whether the connection uses TLS. The host's certificate must be valid for O(host).
    type: bool
    default: false
  ca_file:
    description: >-
      The PEM file of the authority that issued the host's certificate, when the computer that runs the module does not
      trust that authority.
    type: path
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read whether a client can subscribe
  lowlatency.trading.login_answer_info:
    host: 192.0.2.10
    port: 9002
    account: BENCH
    password: "{{ password }}"
  delegate_to: localhost
"""

RETURN = r"""
accepted:
  description: Whether the login was accepted.
  type: bool
  returned: success
answer:
  description: The port's answer as text, or C(silent) when it did not answer.
  type: str
  returned: success
  sample: "login rejected: A"
session:
  description: The name of the trading session; empty without a login.
  type: str
  returned: success
sequence:
  description: The number of the session's next message; 0 without a login.
  type: int
  returned: success
target:
  description: The host and port, as in C(192.0.2.10:9002).
  type: str
  returned: success
"""

import socket
import ssl
import struct
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

_TIMEOUT_S = 5.0
_ACCEPTED = b"A"
_REJECTED = b"J"
# A login packet of SoupBinTCP 3.00: a length of two bytes, a letter, user, password, session and sequence number. The
# sequence number 0 requests only messages from now on.
_LOGIN = struct.Struct(">Hc6s10s10s20s")
_LOGOUT = b"\x00\x01O"


def login(account: str, password: str) -> bytes:
    """Return the bytes of the login request, as SoupBinTCP defines it."""
    name, word = account.encode("ascii").ljust(6), password.encode("ascii").ljust(10)
    return _LOGIN.pack(_LOGIN.size - 2, b"L", name, word, b" " * 10, b"0".rjust(20))


def packet(connection: Any) -> tuple[bytes, bytes]:
    """Read the next packet from the connection, and return its type and payload.

    Raises ConnectionError when the connection has ended.
    """
    (length,) = struct.unpack(">H", exactly(connection, 2))
    body = exactly(connection, length)
    return body[:1], body[1:]


def exactly(connection: Any, size: int) -> bytes:
    """Read exactly `size` bytes from the connection and return them.

    Raises ConnectionError when the connection ends before that.
    """
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise ConnectionError("the connection ended before an answer")
        found += more
    return found


def first_answer(connection: Any) -> tuple[bytes, bytes]:
    """Return type and payload of the answer to a login. Packets before the answer, such as heartbeats, are skipped.

    Raises TimeoutError when no answer comes in time, and ConnectionError when the connection ends.
    """
    end_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < end_s:
        letter, payload = packet(connection)
        if letter in (_ACCEPTED, _REJECTED):
            return letter, payload
    raise TimeoutError


def observe(given: dict[str, Any]) -> dict[str, Any]:
    """Log in, and return how the port answered: the module's results (see RETURN) except the target."""
    nothing = {"accepted": False, "session": "", "sequence": 0}
    try:
        with socket.create_connection((given["host"], given["port"]), timeout=_TIMEOUT_S) as plain:
            connection: Any = plain
            if given["tls"]:
                context = ssl.create_default_context(cafile=given["ca_file"])
                connection = context.wrap_socket(plain, server_hostname=given["host"])
            connection.sendall(login(given["account"], given["password"]))
            letter, payload = first_answer(connection)
            connection.sendall(_LOGOUT)
    except (TimeoutError, socket.timeout):  # before Python 3.10 these are two different classes
        return {**nothing, "answer": "silent"}
    except (OSError, struct.error) as error:
        return {**nothing, "answer": str(error)}
    text = payload.decode("latin-1")
    if letter == _REJECTED:
        return {**nothing, "answer": f"login rejected: {text}"}
    try:
        sequence = int(text[10:].strip() or "0")
    except ValueError:
        return {**nothing, "answer": f"no answer to a login: {text!r}"}
    return {"accepted": True, "answer": "login accepted", "session": text[:10].strip(), "sequence": sequence}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "account": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "tls": {"type": "bool", "default": False},
            "ca_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    given = module.params
    for name, longest in (("account", 6), ("password", 10)):
        if not given[name].isascii() or not 1 <= len(given[name]) <= longest:
            module.fail_json(msg=f"{name}: SoupBinTCP takes 1 to {longest} ASCII characters")
    module.exit_json(changed=False, target=f"{given['host']}:{given['port']}", **observe(given))


if __name__ == "__main__":
    main()
