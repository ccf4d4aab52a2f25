# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names and tags of an environment's AWS resources. Playbooks find the resources by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
        """Return the filter by name."""
        return {"environment_names": environment_names}
