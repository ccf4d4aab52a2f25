#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that requests a host's pages with and without a token, from the computer that runs the module."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: page_answers_info
short_description: Read the HTTP status of a host's pages with and without a token
version_added: 0.2.0
description:
  - Read each page with the token and without one, without a proxy, and return the status of each answer.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  url:
    description: The beginning of the pages' URLs, without a slash at its end.
    type: str
    required: true
  paths:
    description: The paths of the pages, each with a slash at its beginning.
    type: list
    elements: str
    required: true
  token:
    description: The token. Without one each page is requested only once.
    type: str
    default: ""
  ca_file:
    description: >-
      The PEM file of the authority that issued the host's certificate, when the computer that runs the module does not
      trust that authority.
    type: path
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Read whether the live page answers
  lowlatency.trading.page_answers_info:
    url: http://192.0.2.10:8000
    paths: [/, /metrics]
    token: "{{ token }}"
  delegate_to: localhost
"""

RETURN = r"""
answers:
  description:
    - For each page the status C(with) the token and C(without) it, each 0 without an answer, and the error, which is
      C(said).
  type: dict
  returned: success
  sample: {"/metrics": {"with": 200, "without": 401, "said": ""}}
asks_for_token:
  description: Whether a token was given.
  type: bool
  returned: success
"""

import urllib.error
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

_TIMEOUT_S = 5


def ask(url: str, token: str, ca_file: str | None) -> tuple[int, str]:
    """Request a URL. Return (status, "") for an HTTP answer, or (0, reason) without an answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with open_url(url, headers=headers, timeout=_TIMEOUT_S, use_proxy=False, ca_path=ca_file) as answer:
            answer.read()
            return int(answer.status), ""
    except urllib.error.HTTPError as error:
        return error.code, ""
    except Exception as error:  # open_url raises many types of errors, such as for certificates
        return 0, str(error)


def observe(url: str, paths: list[str], token: str, ca_file: str | None) -> dict[str, dict[str, Any]]:
    """Return a dictionary: page → the statuses of its answers with and without the token, and an error text.

    The error text says why there was no answer. It is empty when there was one.
    """
    found = {}
    for path in paths:
        status, said = ask(url + path, token, ca_file)
        without = ask(url + path, "", ca_file)[0] if token else status
        found[path] = {"with": status, "without": without, "said": said}
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "str", "required": True},
            "token": {"type": "str", "default": "", "no_log": True},
            "ca_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    given = module.params
    answers = observe(given["url"], given["paths"], given["token"], given["ca_file"])
    module.exit_json(changed=False, answers=answers, asks_for_token=bool(given["token"]))


if __name__ == "__main__":
    main()
