# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter that returns the names and tags of an environment's AWS resources.

Roles create resources with these names and tags, and use them later to find the resources.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PROJECT = "lowlatency-trading"


def environment_names(environment: str, tags: dict[str, str] | None = None) -> dict[str, Any]:
    """Return a dictionary with the names and tags of the environment's AWS resources.

    ``prefix`` begins the resources' names, ``path`` is the path of IAM roles, and ``logs`` begins the names of log
    groups. ``own_tags`` are the two tags by which the environment's resources are found. ``tags`` contains these two
    and the user's own tags. A tag of the user cannot replace one of the two.
    """
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
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"environment_names": environment_names}
