# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The partitions of an environment, as the roles of host and network need them."""

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
    """Return the partitions of the host, or of all hosts, with their names and ports. Raises ValueError."""
    found = complete(declared, list(hosts), order_port, feed_port)
    return [partition for partition in found if not host or partition["host"] == host]


class FilterModule:
    """The filters by the names that roles use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "partitions": partitions,
            "partition_move": move,
            "partition_moves": moves,
            "partition_names": names_of,
            "partition_problems": problems,
        }
