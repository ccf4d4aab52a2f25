# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that complete and check an environment's partitions: groups of symbols with an engine of their own.

The roles for hosts and networks use these filters. The rules for partitions are in module_utils/partitions.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.partitions import (
    complete,
    move,
    moves,
    names_of,
    problems,
)


def partitions(
    declared: Any,
    host: str = "",
    hosts: Sequence[str] = (),
    order_port: Any = 9001,
    feed_port: Any = 9002,
) -> list[dict[str, Any]]:
    """Return the partitions of ``host``, or the partitions of all hosts when no host is given.

    Each partition is a dictionary with the names and ports of its services. Raises ValueError for a malformed list.
    """
    found = complete(declared, list(hosts), order_port, feed_port)
    return [partition for partition in found if not host or partition["host"] == host]


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {
            "partitions": partitions,
            "partition_move": move,
            "partition_moves": moves,
            "partition_names": names_of,
            "partition_problems": problems,
        }
