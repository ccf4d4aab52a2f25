# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variable's old name, which holds for one more release and is warned of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.utils.display import Display

GONE_WITH = "0.3.0"


def formerly(value: object, old_value: object, old_name: str, new_name: str) -> object:
    """Return ``old_value`` where it was set, else ``value``.

    From the command line (``-e name=8``) a number comes as text: both are compared as texts.
    """
    if old_value is None or str(old_value).lower() == str(value).lower():
        return value
    Display().warning(f"{old_name} is now {new_name}: rename it, release {GONE_WITH} no longer reads the old name here")
    return old_value


class FilterModule:
    """The filter by the name that roles use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it."""
        return {"formerly": formerly}
