#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: playbook_run
short_description: Run a playbook as a process of its own, with a time limit
version_added: 0.2.0
description:
  - Run a playbook on the controller with the extra variables of the present run and some more, and return how it ended.
    A play that fails ends its run, so this is how a run goes on after one.
  - Hand on what the present run was given of vault passwords in files, user and private key.
  - Have the playbook end when its time is over, and when the present run is killed.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  playbook:
    description: The playbook's file.
    type: path
    required: true
  inventory:
    description: The inventory, a file or a list with a comma in it.
    type: str
    default: localhost,
  inventories:
    description: The inventories, where there are several or it is one with a comma; they count instead of O(inventory).
    type: list
    elements: str
    default: []
  check:
    description: Whether the playbook is run in check mode.
    type: bool
    default: false
  variables:
    description: Extra variables; they win over those of the present run.
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
    description: Nobody knows what a playbook would do; in check mode it is skipped.
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
  description: C(ok), C(failed), or C(limit) when its time was over.
  type: str
  returned: always
seconds:
  description: The seconds it took.
  type: float
  returned: always
tasks:
  description: Host, task, seconds, outcome, message and changed of each task; empty when the playbook was ended.
  type: list
  elements: dict
  returned: always
changes:
  description: Host and task of each task that changed something, or would have in check mode.
  type: list
  elements: dict
  returned: always
failed_task:
  description: The name of the task that ended the playbook.
  type: str
  returned: always
message:
  description: What that task said, or the end of the log.
  type: str
  returned: always
denials:
  description: The actions that AWS refused for want of a permission.
  type: list
  elements: str
  returned: always
"""
