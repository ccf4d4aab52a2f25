#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: request a host's pages with and without a token, from the machine that runs the module."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: page_answers_info
short_description: Read what pages of a host answer with a token and without
version_added: 0.2.0
description:
  - Ask for each page with the token and without one, past any proxy, and return the status of each answer.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  url:
    description: The beginning of the pages' addresses, without a slash at its end.
    type: str
    required: true
  paths:
    description: The pages, each with a slash at its beginning.
    type: list
    elements: str
    required: true
  token:
    description: The token; without one the pages are asked for only once.
    type: str
    default: ""
  ca_file:
    description: The authority of the host's certificate as a PEM file, where it is none that this machine knows.
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
    - Page → the statuses C(with) the token and C(without), 0 where there was no answer, and what was C(said) instead of
      one.
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
    """Return the status of the answer, or 0 and the reason without an answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with open_url(url, headers=headers, timeout=_TIMEOUT_S, use_proxy=False, ca_path=ca_file) as answer:
            answer.read()
            return int(answer.status), ""
    except urllib.error.HTTPError as error:
        return error.code, ""
    except Exception as error:  # open_url raises many types for an untrusted certificate
        return 0, str(error)


def observe(url: str, paths: list[str], token: str, ca_file: str | None) -> dict[str, dict[str, Any]]:
    """Return the answers of each page."""
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
