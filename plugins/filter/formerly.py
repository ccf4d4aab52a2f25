# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter by which a renamed variable's old name keeps working for one more release, with a warning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.utils.display import Display
from jinja2 import pass_context

GONE_WITH = "0.3.0"


@pass_context
def formerly(context: Mapping[str, Any], value: object, old_value: object, old_name: str, new_name: str) -> object:
    """Return ``old_value`` when only the old name is set and the two values differ, otherwise ``value``.

    Prints a warning when the old name is used. Also prints a warning when the old name is ignored because both names
    are set. The values are compared as text, because a number from the command line (``-e name=8``) is text.
    """
    if old_value is None or str(old_value).lower() == str(value).lower():
        return value
    if is_set(context, new_name):
        Display().warning(f"{old_name} is ignored, because {new_name} is set: remove the old name")
        return value
    Display().warning(f"{old_name} is now {new_name}: rename it, release {GONE_WITH} no longer reads the old name here")
    return old_value


def is_set(variables: Mapping[str, Any], name: str) -> bool:
    """Return whether a variable is set. A name such as ``trading_slo.p99_us`` means one key of a dictionary."""
    whole, _dot, key = name.partition(".")
    return whole in variables and (not key or key in variables[whole])


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the functions of all filters. The keys are the names that roles and playbooks use."""
        return {"formerly": formerly}
