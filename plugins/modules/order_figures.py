#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that computes the figures of measured loads, such as latency percentiles.

It runs the program trading-figures.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: order_figures
short_description: Derive the figures of measured loads
version_added: 0.1.0
description:
  - Return the common figures of one or more loads. Each load is a file that M(lowlatency.trading.order_load) wrote on
    this host, with the record that M(lowlatency.trading.cpu_witness) made on the engine's host at the same time.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  command:
    description: The command line of C(trading-figures).
    type: list
    elements: str
    required: true
  rounds:
    description: The loads in order.
    type: list
    elements: dict
    required: true
    suboptions:
      kept:
        description: The file of the load on this host.
        type: path
        required: true
      record:
        description: The record of M(lowlatency.trading.cpu_witness); empty when no witness ran.
        type: dict
        default: {}
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Make the figures of both loads
  lowlatency.trading.order_figures:
    command: [/opt/trading/current/bin/trading-figures]
    rounds:
      - kept: /var/tmp/load.1
        record: "{{ seen.record }}"
"""

RETURN = r"""
figures:
  description: All measured figures. Their names contain the units.
  type: dict
  returned: success
drawings:
  description: Latency by percentile and over time, as HTML.
  type: str
  returned: success
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside

# With these exit codes trading-figures has written figures.
MEASURED = 0
INTERRUPTED = 3


def observe(module: AnsibleModule) -> dict[str, Any]:
    """Return the figures of all rounds of load together. The key "drawings" has the diagrams as HTML."""
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
        words = []
        for number, each in enumerate(module.params["rounds"]):
            words += ["--run", each["kept"]]
            if each["record"]:
                record = Path(folder, f"record.{number}")
                record.write_text(json.dumps(each["record"]), encoding="utf-8")
                words.append(str(record))
        report = Path(folder, "figures.json")
        command = [*module.params["command"], *words, "--json", str(report)]
        returned, out, err = outside.run(module, command)
        if returned not in (MEASURED, INTERRUPTED):
            module.fail_json(msg=err.strip() or out.strip() or f"{command[0]} ended with exit code {returned}")
        figures: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return figures


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "command": {"type": "list", "elements": "str", "required": True},
            "rounds": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "kept": {"type": "path", "required": True},
                    "record": {"type": "dict", "default": {}},
                },
            },
        },
        supports_check_mode=True,
    )
    figures = observe(module)
    module.exit_json(changed=False, drawings=figures.pop("drawings"), figures=figures)


if __name__ == "__main__":
    main()
