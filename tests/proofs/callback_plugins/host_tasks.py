# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records which tasks ran on a host. After one of them it can kill the whole run, as a power failure would."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: host_tasks
type: aggregate
short_description: Lists the tasks that reached a host, and kills the run after one of them
description: Each name is a line in the file that the environment variable HOST_TASKS_FILE names.
requirements: [enabled in the configuration]
"""

# These actions run on the controller, so their tasks are not recorded.
LOCAL_ACTIONS = {"assert", "debug", "include_role", "include_tasks", "meta", "set_fact", "validate_argument_spec"}


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "host_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._file = Path(os.environ["HOST_TASKS_FILE"])
        self._file.write_text("")
        self._kill_after = int(os.environ.get("KILL_AFTER_HOST_TASKS", "0"))
        self._done = 0

    def v2_runner_on_ok(self, result: Any) -> None:
        task = result.task
        if task.action.rpartition(".")[2] in LOCAL_ACTIONS or task.delegate_to:
            return
        self._done += 1
        with self._file.open("a") as names:
            names.write(f"{task.get_name()}\n")
        if self._done == self._kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
