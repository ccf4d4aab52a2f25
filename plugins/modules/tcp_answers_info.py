#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that tests the TCP ports of another host from the computer that runs the module."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tcp_answers_info
short_description: Check which TCP ports of another host answer
version_added: 0.2.0
description:
  - Return the answer of each port to a connection on which no data is sent.
  - Report a port as refused when no process listens there, and as silent when packets to it are dropped.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  host:
    description: The address or name of the host.
    type: str
    required: true
  ports:
    description: The ports.
    type: list
    elements: int
    required: true
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read whether the controller reaches the host
  lowlatency.trading.tcp_answers_info:
    host: 192.0.2.10
    ports: [22, 8000]
  delegate_to: localhost
"""

RETURN = r"""
answers:
  description: >-
    For each port C(open), C(refused), C(silent), or the error of the system that runs the module, such as no route.
  type: dict
  returned: success
  sample: {"22": "open", "9001": "silent"}
"""

import socket
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule

_MOST_AT_ONCE = 16
_SILENT_S = 3.0


def answer(host: str, port: int) -> str:
    """Return a port's answer to a connection attempt: "open", "refused", "silent", or another error in lower case."""
    try:
        socket.create_connection((host, port), timeout=_SILENT_S).close()
    except ConnectionRefusedError:
        return "refused"
    except (TimeoutError, socket.timeout):  # before Python 3.10 these are two different classes
        return "silent"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "open"


def observe(host: str, ports: list[int]) -> dict[str, str]:
    """Return a dictionary: port → its answer to a connection attempt. Up to 16 ports are tried at once."""
    with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
        answers = pool.map(lambda port: answer(host, port), ports)
        return {str(port): found for port, found in zip(ports, answers)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "int", "required": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    module.exit_json(changed=False, answers=observe(options["host"], options["ports"]))


if __name__ == "__main__":
    main()
