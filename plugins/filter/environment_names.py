# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an environment's AWS resources are named and tagged: by these they are found again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DOCUMENTATION = r"""
name: environment_names
short_description: Name and tag the AWS resources of an environment
version_added: 0.2.0
author:
  - lowlatency.trading contributors
description:
  - Returns the prefix, the path and the tags that every role gives to an environment's resources.
options:
  _input:
    description: Name of the environment.
    type: str
    required: true
  tags:
    description: Tags of the user's own. They never replace those by which resources are found.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show how the resources of the environment staging are named
  ansible.builtin.debug:
    msg: "{{ 'staging' | lowlatency.trading.environment_names(tags={'Team': 'desk'}) }}"
"""

RETURN = r"""
_value:
  description:
    - C(project) is the same for every environment, C(prefix) begins every name, C(path) is that of what IAM keeps,
      C(logs) begins the names of log groups.
    - C(own_tags) identify a resource, C(tags) are these and the user's.
  type: dict
"""

PROJECT = "lowlatency-trading"


def environment_names(environment: str, tags: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the names and tags of the environment."""
    own_tags = {"Project": PROJECT, "Environment": environment}
    return {
        "project": PROJECT,
        "prefix": f"trading-{environment}",
        "path": f"/{PROJECT}/{environment}/",
        "logs": f"/trading/{environment}",
        "own_tags": own_tags,
        "tags": {**(tags or {}), **own_tags},
    }


class FilterModule:
    """The filter by the name that roles use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it."""
        return {"environment_names": environment_names}
