# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variable's old name, which holds for one more release and is warned of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.utils.display import Display

DOCUMENTATION = r"""
name: formerly
short_description: Take a value from a variable's old name, with a warning
version_added: 0.2.0
author:
  - lowlatency.trading contributors
description:
  - Returns what the old name says where somebody set it to something else, and warns once that it is to be renamed.
  - A role's default that follows the new name has the same value and is no reason for a warning.
positional: old_value, old_name, new_name
options:
  _input:
    description: What the new name says.
    type: raw
    required: true
  old_value:
    description: What the old name says, none where it is undefined.
    type: raw
    required: true
  old_name:
    description: Name that is about to go.
    type: str
    required: true
  new_name:
    description: Name to use instead.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Follow trading_budget_usd, and for now the name before it
  ansible.builtin.debug:
    msg: >-
      {{ trading_budget_usd | default(40)
         | lowlatency.trading.formerly(aws_monthly_budget_usd | default(none),
                                       'aws_monthly_budget_usd', 'trading_budget_usd') }}
"""

RETURN = r"""
_value:
  description: The value that counts.
  type: raw
"""

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
