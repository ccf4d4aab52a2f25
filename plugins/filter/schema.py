# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter that checks a configuration document against a JSON schema before the document is copied to a host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError


def schema_problems(document: Any, schema: dict[str, Any]) -> list[str]:
    """Return one sentence for each place where `document` violates `schema` (JSON Schema, draft 4).

    Raises AnsibleFilterError when jsonschema is not installed on the controller.
    """
    try:
        from jsonschema import Draft4Validator
    except ImportError as error:
        raise AnsibleFilterError("the controller lacks jsonschema: pip install jsonschema") from error
    found = sorted(Draft4Validator(schema).iter_errors(document), key=lambda problem: list(map(str, problem.path)))
    return [f"{'.'.join(map(str, problem.path)) or 'the document'}: {problem.message}" for problem in found]


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"schema_problems": schema_problems}
