# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter that lets the old name of a renamed variable work for one more release, with a warning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.utils.display import Display
from jinja2 import pass_context

GONE_WITH = "0.3.0"


@pass_context
def formerly(context: Mapping[str, Any], value: object, old_value: object, old_name: str, new_name: str) -> object:
    """Return the value of a renamed variable, which the user may have set under its old name.

    ``value`` is the value under the new name, and ``old_value`` the value under the old name. ``old_value`` is returned
    when the user has set only the old name, and a warning is printed. When both names are set to different values,
    ``value`` is returned, with a warning that the old name is ignored. The values are compared as text, because a
    number from the command line (``-e name=8``) is text.
    """
    if old_value is None or str(old_value).lower() == str(value).lower():
        return value
    if is_set(context, new_name):
        Display().warning(f"{old_name} is ignored, because {new_name} is set: remove the old name")
        return value
    Display().warning(f"{old_name} is now {new_name}: rename it, release {GONE_WITH} no longer reads the old name here")
    return old_value


def is_set(variables: Mapping[str, Any], name: str) -> bool:
    """Return whether a variable is set.

    A name with a dot, such as ``trading_slo.p99_us``, means the key ``p99_us`` of the dictionary ``trading_slo``.
    """
    whole, _dot, key = name.partition(".")
    return whole in variables and (not key or key in variables[whole])


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"formerly": formerly}
