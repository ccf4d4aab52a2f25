#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: playbook_run
short_description: Run a playbook as a separate process with a time limit
version_added: 0.2.0
description:
  - Run a playbook on the controller with the extra variables of the present run and those in O(variables), and return
    how it ended. A failed play would end the present run. The separate process allows the present run to continue.
  - Hand the present run's files of vault passwords, user and private key on to the playbook.
  - Have the playbook end at its time limit, and when the present run is killed.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  playbook:
    description: The path of the playbook.
    type: path
    required: true
  inventory:
    description: The inventory, a file or a list with a comma in it.
    type: str
    default: localhost,
  inventories:
    description: >-
      The inventories, when there are several, or when the path of one contains a comma. They replace O(inventory).
    type: list
    elements: str
    default: []
  check:
    description: Say whether the playbook runs in check mode.
    type: bool
    default: false
  variables:
    description: The extra variables, which override those of the present run.
    type: dict
    default: {}
  folder:
    description: The folder to make for the variables, the log and the list of tasks. It must not exist.
    type: path
    required: true
  limit_seconds:
    description: The seconds after which the playbook is ended.
    type: int
    required: true
attributes:
  action:
    description: Runs on the controller.
    support: full
  check_mode:
    description: The effect of the playbook cannot be predicted, so the module is skipped in check mode.
    support: none
  diff_mode:
    description: What the playbook changes is in its log.
    support: none
"""

EXAMPLES = r"""
- name: Deploy, for ten minutes at most
  lowlatency.trading.playbook_run:
    playbook: playbooks/site.yml
    folder: /tmp/deployment
    limit_seconds: 600
  register: deployment
"""

RETURN = r"""
outcome:
  description: C(ok), C(failed), or C(limit) when the playbook was ended at its time limit.
  type: str
  returned: always
seconds:
  description: The duration of the playbook in seconds.
  type: float
  returned: always
tasks:
  description: >-
    A dictionary of host, task, seconds, outcome, message and changed for each task. The list is empty when the playbook
    was ended at its time limit.
  type: list
  elements: dict
  returned: always
changes:
  description: Host and task of each task that changed something, or in check mode would change something.
  type: list
  elements: dict
  returned: always
failed_task:
  description: The name of the task that ended the playbook.
  type: str
  returned: always
message:
  description: The message of that task, or the end of the log.
  type: str
  returned: always
denials:
  description: The actions that AWS refused because a permission is missing.
  type: list
  elements: str
  returned: always
"""
